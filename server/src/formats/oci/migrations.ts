import type { Migration } from '#platform/database'

export const ociMigrations: readonly Migration[] = [
  {
    name: 'manifests',
    up: async (transaction) => {
      await transaction.schema
        .createTable('manifests')
        .addColumn('repository_id', 'integer', (column) => column.notNull().references('repositories.id'))
        .addColumn('digest', 'text', (column) => column.notNull().references('blobs.digest'))
        .addColumn('size_bytes', 'bigint', (column) => column.notNull())
        .addColumn('media_type', 'text', (column) => column.notNull())
        .addColumn('artifact_type', 'text')
        .addColumn('subject', 'text')
        .addColumn('annotations', 'text')
        .addColumn('nesting', 'integer', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('manifests_key', ['repository_id', 'digest'])
        .execute()
      await transaction.schema
        .createIndex('manifests_subject')
        .on('manifests')
        .columns(['repository_id', 'subject', 'digest'])
        .execute()
      await transaction.schema
        .createTable('manifest_children')
        .addColumn('repository_id', 'integer', (column) => column.notNull())
        .addColumn('parent', 'text', (column) => column.notNull())
        .addColumn('child', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('manifest_children_key', ['repository_id', 'parent', 'child'])
        .addForeignKeyConstraint(
          'manifest_children_parent',
          ['repository_id', 'parent'],
          'manifests',
          ['repository_id', 'digest'],
          (constraint) => constraint.onDelete('cascade'),
        )
        .execute()
      await transaction.schema
        .createIndex('manifest_children_child')
        .on('manifest_children')
        .columns(['repository_id', 'child'])
        .execute()
      await transaction.schema
        .createTable('tags')
        .addColumn('repository_id', 'integer', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('digest', 'text', (column) => column.notNull())
        .addColumn('updated_at', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('tags_key', ['repository_id', 'name'])
        .addForeignKeyConstraint(
          'tags_manifest',
          ['repository_id', 'digest'],
          'manifests',
          ['repository_id', 'digest'],
          (constraint) => constraint.onDelete('cascade'),
        )
        .execute()
      await transaction.schema.createIndex('tags_digest').on('tags').columns(['repository_id', 'digest']).execute()
    },
  },
  // The garbage collector asks whether content is a manifest anywhere.
  {
    name: 'manifests_digest',
    up: async (transaction) => {
      await transaction.schema.createIndex('manifests_digest').on('manifests').column('digest').execute()
    },
  },
]
