import { Command, Option } from 'commander'
import type { MetadataMove } from '@entrepot/server/migrate-metadata'
import { startProgress } from '../progress.ts'
import { counted } from '../size-text.ts'

interface Options {
  readonly dryRun?: true
  readonly json?: true
}

/** `entrepot migrate metadata --from sqlite --to postgres [config.yml]` */
export function migrateMetadata(): Command {
  return new Command('metadata')
    .description('move the metadata of a data folder from SQLite to the PostgreSQL that "database.url" names')
    .argument('[config.yml]', 'the file, with "database.url"; without it what "entrepot serve" would use')
    .addOption(new Option('--from <engine>', 'where they are').choices(['sqlite']).makeOptionMandatory())
    .addOption(new Option('--to <engine>', 'where they are to go').choices(['postgres']).makeOptionMandatory())
    .option('--dry-run', 'look whether it can be done, and tell what would be moved')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
End the server first. All is moved in one transaction: whatever goes wrong, everything is as it was. After that the file
of SQLite is renamed, so that no start can take it for the truth. Blobs stay where they are.

Examples:
  entrepot migrate metadata --from sqlite --to postgres --dry-run /etc/entrepot/config.yml
  entrepot migrate metadata --from sqlite --to postgres /etc/entrepot/config.yml`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const { loadConfig } = await import('@entrepot/server/config')
      const { prepareMetadataMove } = await import('@entrepot/server/migrate-metadata')
      const { config } = loadConfig({ file })
      const prepared = await prepareMetadataMove(config)
      try {
        const putAside = options.dryRun === true ? undefined : await moveWithProgress(prepared)
        print(prepared, putAside, options)
      } finally {
        await prepared.close()
      }
    })
}

async function moveWithProgress(prepared: MetadataMove): Promise<string> {
  const total = totalOf(prepared)
  let moved = 0
  const endProgress = startProgress(() => `${moved} of ${counted(total, 'row')} moved`)
  try {
    return await prepared.move((rows) => {
      moved += rows
    })
  } finally {
    endProgress()
  }
}

function print({ tables }: MetadataMove, putAside: string | undefined, { json }: Options): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ tables, isDryRun: putAside === undefined, putAside })}\n`)
    return
  }
  for (const { table, rows } of tables) process.stdout.write(`${table}: ${counted(rows, 'row')}\n`)
  const total = counted(totalOf({ tables }), 'row')
  process.stdout.write(
    putAside === undefined
      ? `would move ${total}; nothing was changed\n`
      : `moved ${total}; the file of SQLite is now ${putAside}: remove it when all is well\n`,
  )
}

function totalOf({ tables }: Pick<MetadataMove, 'tables'>): number {
  return tables.reduce((sum, { rows }) => sum + rows, 0)
}
