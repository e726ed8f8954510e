import type { Migration } from '#platform/database'

export const jobMigrations: readonly Migration[] = [
  {
    name: 'jobs',
    up: async (transaction) => {
      await transaction.schema
        .createTable('jobs')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('key', 'text')
        .addColumn('live_key', 'text', (column) => column.unique())
        .addColumn('payload', 'text', (column) => column.notNull())
        .addColumn('state', 'text', (column) => column.notNull())
        .addColumn('due_at', 'bigint', (column) => column.notNull())
        .addColumn('owner', 'text')
        .addColumn('attempts', 'integer', (column) => column.notNull())
        .addColumn('losses', 'integer', (column) => column.notNull())
        .addColumn('is_cancelling', 'integer', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('started_at', 'bigint')
        .addColumn('ended_at', 'bigint')
        .addColumn('progress', 'text')
        .addColumn('error', 'text')
        .execute()
      await transaction.schema.createIndex('jobs_state_due_at').on('jobs').columns(['state', 'due_at']).execute()
      await transaction.schema
        .createTable('job_lines')
        .addColumn('job_id', 'integer', (column) => column.notNull().references('jobs.id'))
        .addColumn('number', 'integer', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('text', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('job_lines_key', ['job_id', 'number'])
        .execute()
    },
  },
]
