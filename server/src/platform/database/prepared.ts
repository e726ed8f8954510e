import type { Compilable, CompiledQuery, RawBuilder } from 'kysely'
import { sql } from 'kysely'
import type { Connection } from './database.ts'

type Value = string | number

/** Stands in a query for a value that is only known when the query runs. */
class Placeholder {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** Stands for the values of a query while its SQL is made. */
export type Parameters<Values extends Record<string, Value>> = {
  readonly [Name in keyof Values]: RawBuilder<Values[Name]>
}

/**
 * A query of the hot path: its SQL is made once for each connection, and then only run.
 * Making it costs several times as much as running it.
 * @param names the names of the values that the query takes.
 * @param build makes the query; it may depend on nothing but its arguments.
 * @returns runs the query and gives its rows.
 */
export function prepareQuery<Values extends Record<string, Value>, Row>(
  names: readonly (keyof Values & string)[],
  build: (connection: Connection, parameters: Parameters<Values>) => Compilable<Row>,
): (connection: Connection, values: Values) => Promise<readonly Row[]> {
  const made = new WeakMap<Connection, CompiledQuery<Row>>()
  const compile = (connection: Connection): CompiledQuery<Row> => {
    const entries = names.map((name) => [name, sql`${new Placeholder(name)}`] as const)
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it has exactly the names that Values has
    const compiled = build(connection, Object.fromEntries(entries) as unknown as Parameters<Values>).compile()
    made.set(connection, compiled)
    return compiled
  }
  return async (connection, values) => {
    const compiled: CompiledQuery<Row> = made.get(connection) ?? compile(connection)
    const parameters = compiled.parameters.map((value) => (value instanceof Placeholder ? values[value.name] : value))
    return (await connection.executeQuery<Row>({ ...compiled, parameters })).rows
  }
}
