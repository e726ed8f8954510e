/**
 * The metadata database: connections for reading, transactions for writing, and the ordered list of migrations.
 * It knows no tables; each table belongs to one `*-rows.ts` file elsewhere.
 */
export type { Connection, Database, Migration, Transaction } from './database.ts'
export { checkedValues } from './checked-value.ts'
export { isPostgres, sharedNow } from './engine.ts'
export { copyTables, firstFilledTable, type TableSize, tablesOf } from './copy-tables.ts'
export { borrowFolder, FolderInUseError, lockFolder, shareFolder } from './folder-lock.ts'
export { besideOthers, lockFreeKeys, lockKey } from './key-locks.ts'
export { appliedMigrations, isNewDatabase, isUnused, migrate, requireKnown, SchemaTooNewError } from './migrations.ts'
export { pagesOf } from './pages.ts'
export { partsOf } from './parts.ts'
export { prepareQuery } from './prepared.ts'
export { ReadCache } from './read-cache.ts'
export { type DanglingRow, type DatabaseInspection, inspectSqlite } from './sqlite-inspection.ts'
export { openPostgres } from './postgres.ts'
export type { PostgresOptions } from './postgres-connections.ts'
export { inspectPostgres } from './postgres-inspection.ts'
export { DatabaseUnavailableError } from './postgres-error.ts'
export { openSqlite } from './sqlite.ts'
export { isSqliteError } from './sqlite-error.ts'
export { WritesStoppedError } from './write-ahead-log.ts'
export { sql } from 'kysely'
