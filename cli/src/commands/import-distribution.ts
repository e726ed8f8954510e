import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import type { Config } from '@entrepot/server/config'
import type { ImportCounts, ImportEvent, Skipped } from '@entrepot/server/management'
import { withManagement } from '../management-client.ts'
import { startProgress } from '../progress.ts'
import { counted, sizeText } from '../size-text.ts'

interface Options {
  readonly dryRun?: true
  readonly updateTags?: true
  readonly json?: true
}

/** `entrepot import distribution <folder> [config.yml]` */
export function importDistribution(): Command {
  return new Command('distribution')
    .description('take over the images of a CNCF distribution registry (registry:2, registry:3) out of its folder')
    .argument('<folder>', 'what "storage.filesystem.rootdirectory" names there')
    .argument('[config.yml]', 'our file; without it what "entrepot serve" would use')
    .addOption(
      new Option('--dry-run', 'read and compare everything, and tell what an empty registry would take over').conflicts(
        'updateTags',
      ),
    )
    .option('--update-tags', 'let tags that stand for something else here follow the folder')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Nothing in the folder is changed. Files become hard links where the file system and their owner allow that, and copies
elsewhere; all are compared with their digests. Done again, it takes over what has come since. It works beside a running
server, and before the first start.
The exit code is 1 when something could not be taken over, each of which is told; a tag that stays is no failure.

Examples:
  entrepot import distribution --dry-run /var/lib/registry
  entrepot import distribution /var/lib/registry /etc/entrepot/config.yml`,
    )
    .action(async (folder: string, file: string | undefined, options: Options) => {
      const printer = options.json === true ? new JsonPrinter() : new TextPrinter(options.dryRun === true)
      const endProgress = startProgress(() => countsText(printer.counts))
      try {
        await run(resolve(folder), { file, options, hear: (event) => printer.hear(event) })
      } finally {
        endProgress()
      }
      printer.end()
      if (printer.failures > 0) process.exitCode = 1
    })
}

async function run(
  source: string,
  { file, options, hear }: { file: string | undefined; options: Options; hear: (event: ImportEvent) => void },
): Promise<void> {
  if (options.dryRun === true) {
    const { loadConfig } = await import('@entrepot/server/config')
    const { tryDistribution } = await import('@entrepot/server/management')
    const { config }: { config: Config } = loadConfig({ file })
    await tryDistribution(config, source, async (event) => hear(event))
    return
  }
  const body = { source, ...(options.updateTags === true && { existingTags: 'update' }) }
  await withManagement(
    file,
    async (client) => {
      let isDone = false
      for await (const event of client.events('imports/distribution', body)) {
        if (event.type === 'failed') throw new Error(event.message)
        isDone ||= event.type === 'done'
        hear(event)
      }
      if (!isDone) throw new Error('the server went away before the end; what was done stays done: do it again')
    },
    { isCreating: true },
  )
}

/** Hears how it goes on, and prints it. */
abstract class Printer {
  counts: Partial<ImportCounts> = {}
  /** What could not be taken over. */
  failures = 0

  hear(event: ImportEvent): void {
    if (event.type === 'skipped') {
      const { type: _type, ...skipped } = event
      if (event.reason !== 'tag-differs') this.failures++
      this.skip(skipped)
    } else if (event.type !== 'failed') this.counts = { ...event.counts }
  }

  abstract skip(skipped: Skipped): void
  abstract end(): void
}

class TextPrinter extends Printer {
  readonly #isDryRun: boolean

  constructor(isDryRun: boolean) {
    super()
    this.#isDryRun = isDryRun
  }

  skip({ reason, repository, tag, digest, message }: Skipped): void {
    const name = tag === undefined ? repository : `${repository}:${tag}`
    const where = [name, digest].filter((part) => part !== undefined && part !== '').join(' ')
    // Names come from a folder, and may hold anything, such as what a terminal would carry out.
    const line = `skipped: ${reason}: ${where}: ${message}`.replaceAll(/\p{Cc}/gu, '?')
    process.stdout.write(`${line}\n`)
  }

  end(): void {
    const { linked = 0, copied = 0, present = 0, skipped = 0 } = this.counts
    const how = this.#isDryRun
      ? `nothing was changed`
      : `${linked} contents linked, ${copied} copied, ${present} there before`
    process.stdout.write(
      `${this.#isDryRun ? 'would take over' : 'took over'} ${countsText(this.counts)}; ${how}, ${skipped} skipped\n`,
    )
  }
}

class JsonPrinter extends Printer {
  #separator = ''

  constructor() {
    super()
    process.stdout.write('{"skipped":[')
  }

  skip(skipped: Skipped): void {
    process.stdout.write(`${this.#separator}\n${JSON.stringify(skipped)}`)
    this.#separator = ','
  }

  end(): void {
    process.stdout.write(`],\n"counts":${JSON.stringify(this.counts)}}\n`)
  }
}

function countsText({
  repositories = 0,
  blobs = 0,
  manifests = 0,
  tags = 0,
  bytes = 0,
}: Partial<ImportCounts>): string {
  const name = repositories === 1 ? '1 repository' : `${repositories} repositories`
  return `${name}, ${counted(blobs, 'blob')}, ${counted(manifests, 'manifest')}, ${counted(tags, 'tag')}, ${sizeText(bytes)}`
}
