import { blobMigrations } from '#core/blobs'
import { instanceMigrations } from '#core/instances'
import { repositoryMigrations } from '#core/repositories'
import { ociMigrations } from '#formats/oci'
import { jobMigrations } from '#platform/jobs'

/** Each room's own steps; a room that refers to another's tables comes after it. */
export const MIGRATIONS = [
  ...repositoryMigrations,
  ...instanceMigrations,
  ...blobMigrations,
  ...ociMigrations,
  ...jobMigrations,
]
