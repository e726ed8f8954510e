import type {
  ColumnDefinitionNode,
  CreateTableNode,
  KyselyPlugin,
  OperationNode,
  PluginTransformQueryArgs,
  PluginTransformResultArgs,
  QueryResult,
  RootOperationNode,
  UnknownRow,
} from 'kysely'
import {
  ColumnDefinitionNode as Columns,
  CreateTableNode as Tables,
  DataTypeNode,
  GeneratedNode,
  RawNode,
} from 'kysely'

/**
 * Makes of the tables that migrations describe what the same queries need of PostgreSQL: text in the order of its bytes,
 * numbers as long as those of JavaScript, and the number of each row that SQLite has by itself.
 */
export class PostgresTables implements KyselyPlugin {
  transformQuery({ node }: PluginTransformQueryArgs): RootOperationNode {
    return Tables.is(node) ? withRowNumber({ ...node, columns: node.columns.map(translate) }) : node
  }

  async transformResult({ result }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    return result
  }
}

const IDENTITY = { identity: true, always: true } as const
const TYPES: ReadonlyMap<unknown, OperationNode> = new Map<unknown, OperationNode>([
  ['text', RawNode.createWithSql('text collate "C"')],
  ['integer', DataTypeNode.create('bigint')],
])

function translate(column: ColumnDefinitionNode): ColumnDefinitionNode {
  const { autoIncrement, ...rest } = column
  const type = DataTypeNode.is(column.dataType) ? TYPES.get(column.dataType.dataType) : undefined
  const translated = type === undefined ? rest : { ...rest, dataType: type }
  return autoIncrement === true
    ? Columns.cloneWith(translated, { generated: GeneratedNode.create(IDENTITY) })
    : translated
}

/** A table whose rows have an id of their own needs no other number. */
function withRowNumber(table: CreateTableNode): CreateTableNode {
  if (table.columns.some((column) => column.generated !== undefined)) return table
  const column = Columns.create('rowid', DataTypeNode.create('bigint'))
  return Tables.cloneWithColumn(
    table,
    Columns.cloneWith(column, { generated: GeneratedNode.create(IDENTITY), unique: true }),
  )
}
