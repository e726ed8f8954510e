import type { Migration } from '#platform/database'

export const repositoryMigrations: readonly Migration[] = [
  {
    name: 'repositories',
    up: async (transaction) => {
      await transaction.schema
        .createTable('repositories')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('name', 'text', (column) => column.notNull().unique())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('published_at', 'bigint')
        .execute()
    },
  },
]
