import { stat } from 'node:fs/promises'
import type { Digest } from '@entrepot/oci'
import type { FileOrder, FileOutcome, SourceFiles } from '#core/blobs'
import { Bucket, type S3Options } from '#platform/s3'
import { type BucketAccess, isBucketUrl, locateBucket } from './bucket-location.ts'
import { DistributionBucket } from './distribution-bucket.ts'
import { DistributionFolder } from './distribution-folder.ts'

/** A repository as CNCF distribution keeps it. */
export interface SourceRepository {
  readonly name: string
  /** Where everything of it is. */
  readonly path: string
}

/** What CNCF distribution has stored. Nothing of it is ever changed. */
export interface DistributionSource {
  /** What reads its files for a store; undefined where they are files of this machine. */
  readonly files: SourceFiles | undefined
  repositories(): AsyncIterable<SourceRepository>
  /** The digests of a repository's blobs; of anything else what stands in its place. */
  layers(repository: SourceRepository): AsyncIterable<string>
  /** The digests of a repository's manifests; of anything else what stands in its place. */
  revisions(repository: SourceRepository): AsyncIterable<string>
  tags(repository: SourceRepository): AsyncIterable<string>
  /** What a tag's link says; undefined where there is none. @throws the error of a link that cannot be read */
  readTag(repository: SourceRepository, tag: string): Promise<string | undefined>
  /** The file that says that a repository has a blob. */
  layerLink(repository: SourceRepository, digest: Digest): string
  /** Whether a manifest's link says its digest; undefined where there is none. @throws the error of reading it */
  hasRevision(repository: SourceRepository, digest: Digest): Promise<boolean | undefined>
  /** Where the bytes of a digest are. */
  content(digest: Digest): string
  /** The digests of all content, whoever needs it. */
  contents(): AsyncIterable<Digest>
  /** The size of content in bytes; undefined where there is none. */
  size(digest: Digest): Promise<number | undefined>
  /**
   * All bytes of content.
   * @returns undefined where there are more than `maxBytes`, and null where there is none.
   * @throws the error of reading it
   */
  read(digest: Digest, maxBytes: number): Promise<Buffer | undefined | null>
  /** Compares files with their digests, as `FileIntake.prepare` does, without storing them. */
  compare(orders: readonly FileOrder[]): Promise<FileOutcome[]>
}

/** Where a registry of CNCF distribution keeps everything, as its configuration says. */
export type DistributionStorage = { readonly folder: string } | { readonly bucket: S3Options }

/** Which registry of CNCF distribution is meant. */
export interface DistributionLocation {
  /** The absolute path of its folder, or of the file with its configuration; or `s3://<bucket>/<rootdirectory>`. */
  readonly source: string
  /** How such a bucket is reached. */
  readonly access: BucketAccess
}

/**
 * Opens what CNCF distribution has stored.
 * @param readStorage where a configuration in a file says that that is.
 * @throws when there is no registry.
 */
export async function openDistribution(
  { source, access }: DistributionLocation,
  readStorage: (file: string) => DistributionStorage,
): Promise<DistributionSource> {
  if (isBucketUrl(source)) return DistributionBucket.open(await Bucket.open(locateBucket(source, access)))
  const isFile = await stat(source).then(
    (status) => status.isFile(),
    () => false,
  )
  if (!isFile) return DistributionFolder.open(source)
  const storage = readStorage(source)
  if ('folder' in storage) return DistributionFolder.open(storage.folder)
  return DistributionBucket.open(await Bucket.open(storage.bucket))
}
