/**
 * Repositories: the names under which content is kept, of whatever format.
 * A repository comes into being with its first upload and is listed from its first published manifest or package.
 * Everything else refers to it by id, so that a name given anew is another repository.
 */
export {
  ensureRepository,
  findRepositoryId,
  findRepositoryName,
  isPublished,
  listRepositoryNames,
  publishRepository,
  queryRepositoryId,
  type RepositoryId,
} from './repository-rows.ts'
export { checkRepositoryRows } from './repository-check.ts'
export { repositoryMigrations } from './migrations.ts'
