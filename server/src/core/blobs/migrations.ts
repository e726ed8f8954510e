import type { Migration } from '#platform/database'

export const blobMigrations: readonly Migration[] = [
  {
    name: 'blobs',
    up: async (transaction) => {
      await transaction.schema
        .createTable('blobs')
        .addColumn('digest', 'text', (column) => column.primaryKey())
        .addColumn('size_bytes', 'bigint', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .execute()
      await transaction.schema
        .createTable('repository_blobs')
        .addColumn('repository_id', 'integer', (column) => column.notNull().references('repositories.id'))
        .addColumn('digest', 'text', (column) => column.notNull().references('blobs.digest'))
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('repository_blobs_key', ['repository_id', 'digest'])
        .execute()
      await transaction.schema.createIndex('repository_blobs_digest').on('repository_blobs').column('digest').execute()
      await transaction.schema
        .createTable('uploads')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('repository_id', 'integer', (column) => column.notNull().references('repositories.id'))
        .addColumn('algorithm', 'text', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
  {
    name: 'unneeded_blobs',
    up: async (transaction) => {
      await transaction.schema
        .createTable('unneeded_blobs')
        .addColumn('repository_id', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text', (column) => column.notNull())
        .addColumn('since', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('unneeded_blobs_key', ['repository_id', 'digest'])
        .execute()
      await transaction.schema.createIndex('unneeded_blobs_since').on('unneeded_blobs').column('since').execute()
    },
  },
  {
    name: 'garbage_runs',
    up: async (transaction) => {
      await transaction.schema
        .createTable('garbage_runs')
        .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
        .addColumn('started_at', 'bigint', (column) => column.notNull())
        .addColumn('duration_ms', 'bigint', (column) => column.notNull())
        .addColumn('started_by', 'text', (column) => column.notNull())
        .addColumn('unlinked_blobs', 'bigint', (column) => column.notNull())
        .addColumn('removed_contents', 'bigint', (column) => column.notNull())
        .addColumn('removed_bytes', 'bigint', (column) => column.notNull())
        .addColumn('error', 'text')
        .execute()
    },
  },
  {
    name: 'upload_claims',
    up: async (transaction) => {
      await transaction.schema.alterTable('uploads').addColumn('writer', 'text').execute()
      await transaction.schema
        .alterTable('uploads')
        .addColumn('claims', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute()
    },
  },
  {
    name: 'garbage_holds',
    up: async (transaction) => {
      await transaction.schema
        .createTable('garbage_holds')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('held_until', 'bigint', (column) => column.notNull())
        .execute()
    },
  },
]
