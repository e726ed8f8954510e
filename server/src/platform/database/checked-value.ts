import type { RawBuilder } from 'kysely'
import { sql } from './query-builder.ts'

/** A column as text; null where the row holds something else, which only a check expects. */
export function asText(column: string): RawBuilder<string | null> {
  return sql<string | null>`case when typeof(${sql.ref(column)}) = 'text' then ${sql.ref(column)} end`
}

/** A column as a whole number; null where the row holds something else, or more than a number of JavaScript can. */
export function asWhole(column: string): RawBuilder<number | null> {
  const max = sql.lit(Number.MAX_SAFE_INTEGER)
  return sql<number | null>`case when typeof(${sql.ref(column)}) = 'integer'
    and ${sql.ref(column)} between -${max} and ${max} then ${sql.ref(column)} end`
}
