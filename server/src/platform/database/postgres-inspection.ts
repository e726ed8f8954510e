import type { Database } from './database.ts'
import type { DatabaseInspection } from './sqlite-inspection.ts'

/**
 * Looks at a PostgreSQL database. The server itself holds what it stores to the references between tables, and tells of a
 * broken file when it reads it.
 */
export function inspectPostgres(database: Database): DatabaseInspection {
  const { read } = database
  return {
    read,
    snapshot: async (work) => read.transaction().execute(work),
    structureProblems: () => [],
    danglingRows: () => [],
    close: async () => database.close(),
  }
}
