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
  {
    name: 'deleted_manifests',
    up: async (transaction) => {
      await transaction.schema
        .createTable('deleted_manifests')
        .addColumn('repository_id', 'integer', (column) => column.notNull().references('repositories.id'))
        .addColumn('digest', 'text', (column) => column.notNull().references('blobs.digest'))
        .addColumn('size_bytes', 'bigint', (column) => column.notNull())
        .addColumn('media_type', 'text', (column) => column.notNull())
        .addColumn('artifact_type', 'text')
        .addColumn('subject', 'text')
        .addColumn('annotations', 'text')
        .addColumn('nesting', 'integer', (column) => column.notNull())
        .addColumn('created_at', 'bigint', (column) => column.notNull())
        .addColumn('deleted_at', 'bigint', (column) => column.notNull())
        .addColumn('reason', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('deleted_manifests_key', ['repository_id', 'digest'])
        .execute()
      await transaction.schema
        .createIndex('deleted_manifests_digest')
        .on('deleted_manifests')
        .column('digest')
        .execute()
      await transaction.schema
        .createIndex('deleted_manifests_time')
        .on('deleted_manifests')
        .column('deleted_at')
        .execute()
      await transaction.schema
        .createTable('deleted_manifest_children')
        .addColumn('repository_id', 'integer', (column) => column.notNull())
        .addColumn('parent', 'text', (column) => column.notNull())
        .addColumn('child', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('deleted_manifest_children_key', ['repository_id', 'parent', 'child'])
        .addForeignKeyConstraint(
          'deleted_manifest_children_parent',
          ['repository_id', 'parent'],
          'deleted_manifests',
          ['repository_id', 'digest'],
          (constraint) => constraint.onDelete('cascade'),
        )
        .execute()
      await transaction.schema
        .createIndex('deleted_manifest_children_child')
        .on('deleted_manifest_children')
        .columns(['repository_id', 'child'])
        .execute()
    },
  },
  // No key refers to their manifest: a tag can be deleted alone, or together with it.
  {
    name: 'deleted_tags',
    up: async (transaction) => {
      await transaction.schema
        .createTable('deleted_tags')
        .addColumn('repository_id', 'integer', (column) => column.notNull().references('repositories.id'))
        .addColumn('digest', 'text', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('updated_at', 'bigint', (column) => column.notNull())
        .addColumn('deleted_at', 'bigint', (column) => column.notNull())
        .addColumn('reason', 'text', (column) => column.notNull())
        .addColumn('went_with_manifest', 'integer', (column) => column.notNull())
        .addPrimaryKeyConstraint('deleted_tags_key', ['repository_id', 'digest', 'name'])
        .execute()
      await transaction.schema
        .createIndex('deleted_tags_name')
        .on('deleted_tags')
        .columns(['repository_id', 'name', 'deleted_at'])
        .execute()
      await transaction.schema.createIndex('deleted_tags_time').on('deleted_tags').column('deleted_at').execute()
    },
  },
  {
    name: 'untagged_manifests',
    up: async (transaction) => {
      await transaction.schema
        .createTable('untagged_manifests')
        .addColumn('repository_id', 'integer', (column) => column.notNull())
        .addColumn('digest', 'text', (column) => column.notNull())
        .addColumn('since', 'bigint', (column) => column.notNull())
        .addPrimaryKeyConstraint('untagged_manifests_key', ['repository_id', 'digest'])
        .addForeignKeyConstraint(
          'untagged_manifests_manifest',
          ['repository_id', 'digest'],
          'manifests',
          ['repository_id', 'digest'],
          (constraint) => constraint.onDelete('cascade'),
        )
        .execute()
      await transaction.schema
        .createIndex('untagged_manifests_since')
        .on('untagged_manifests')
        .column('since')
        .execute()
    },
  },
]
