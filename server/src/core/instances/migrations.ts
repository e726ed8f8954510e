import type { Migration } from '#platform/database'

export const instanceMigrations: readonly Migration[] = [
  {
    name: 'instances',
    up: async (transaction) => {
      await transaction.schema
        .createTable('instances')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('is_alone', 'integer', (column) => column.notNull())
        .addColumn('is_collecting', 'integer', (column) => column.notNull().defaultTo(0))
        .addColumn('seen_at', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
]
