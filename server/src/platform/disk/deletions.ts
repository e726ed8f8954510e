import type { Database } from '#platform/database'
import type { Reserve } from './reserve.ts'

/**
 * The same database for what makes room: a transaction that meets a full disk gets the reserve's room and is tried once
 * more. Its work must leave nothing behind outside the transaction.
 */
export function withReserve(database: Database, reserve: Reserve): Database {
  return {
    read: database.read,
    get version() {
      return database.version
    },
    transaction: async (work) => reserve.spendOn(async () => database.transaction(work)),
    check: async () => database.check(),
    copyTo: async (file, migrations) => database.copyTo(file, migrations),
    close: async () => database.close(),
  }
}
