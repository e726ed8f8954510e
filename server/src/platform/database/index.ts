/**
 * The metadata database: connections for reading, transactions for writing, and the ordered list of migrations.
 * It knows no tables; each table belongs to one `*-rows.ts` file elsewhere.
 */
export type { Connection, Database, Transaction } from './database.ts'
export { lockFolder } from './folder-lock.ts'
export { isNewDatabase, type Migration, migrate, SchemaTooNewError } from './migrations.ts'
export { prepareQuery } from './prepared.ts'
export { ReadCache } from './read-cache.ts'
export { openSqlite } from './sqlite.ts'
export { WritesStoppedError } from './write-ahead-log.ts'
