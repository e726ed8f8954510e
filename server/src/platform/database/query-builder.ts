import { createRequire } from 'node:module'

/**
 * The query builder's values. Its CommonJS build comes in two thirds of the time of its 260 ES modules, which are a
 * good part of all that a start reads.
 */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- both builds export the same
const kysely = createRequire(import.meta.url)('kysely') as typeof import('kysely')

export const {
  ColumnDefinitionNode,
  CreateTableNode,
  DataTypeNode,
  GeneratedNode,
  HandleEmptyInListsPlugin,
  Kysely,
  PostgresAdapter,
  PostgresDialect,
  RawNode,
  replaceWithNoncontingentExpression,
  sql,
  SqliteDialect,
} = kysely
