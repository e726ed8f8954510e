import { Command, InvalidArgumentError } from 'commander'
import type { Config } from '@entrepot/server/config'
import type { Finding, Fsck, Rebuild } from '@entrepot/server/fsck'
import { withManagement } from '../management-client.ts'
import { startProgress } from '../progress.ts'

const MEBIBYTE = 1024 * 1024

interface Options {
  readonly online?: true
  readonly deep?: true
  readonly quarantine?: true
  readonly rebuild?: true
  readonly rate?: number
  readonly json?: true
}

/** `entrepot fsck [config.yml]` */
export function fsck(): Command {
  return new Command('fsck')
    .description('check that everything stored is there and right, and say what is not')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .option('--online', 'check beside a running server')
    .option('--deep', 'hash every blob, not only manifests')
    .option('--rate <MiB/s>', 'read blobs no faster than this', parseRate)
    .option('--quarantine', 'move damaged content away, so that a push heals it')
    .option('--rebuild', 'first make a lost database anew, out of what a bucket says of itself')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The exit code is 0 when nothing is wrong (notices are no harm), 1 when something is. Without --quarantine and
--rebuild nothing is changed.

Examples:
  entrepot fsck --deep /etc/entrepot/config.yml
  entrepot fsck --online --deep --rate 50
  entrepot fsck --online --deep --quarantine`,
    )
    .action(async (file: string | undefined, options: Options) => {
      if (options.online && options.rebuild)
        throw new Error('no server can work on a database that is lost: leave out --online')
      if (options.online && options.quarantine) {
        await withManagement(file, async (client, config) =>
          check(config, options, async (digest) => {
            const { isMoved } = await client.request<{ isMoved: boolean }>('POST', 'quarantine', { digest })
            return isMoved
          }),
        )
        return
      }
      const { loadConfig } = await import('@entrepot/server/config')
      const { config } = loadConfig({ file })
      await check(config, options)
    })
}

/**
 * Prints what is found.
 * @param quarantine moves content away where a server works, and tells whether it has.
 */
async function check(
  config: Config,
  options: Options,
  quarantine?: (digest: string) => Promise<boolean>,
): Promise<void> {
  const server = await import('@entrepot/server/fsck')
  process.stdout.once('error', endUnread)
  const rebuild = options.rebuild ? await server.rebuildMetadata(config) : undefined
  const print = options.json ? new JsonPrinter() : new TextPrinter()
  let errors = 0
  if (rebuild !== undefined) {
    errors += await printAll(rebuild.findings, print, () => describeRebuild(rebuild))
    print.rebuilt(rebuild)
  }
  const looking = await server.fsck({
    config,
    isOnline: options.online ?? false,
    isDeep: options.deep ?? false,
    isQuarantining: options.quarantine ?? false,
    ...(quarantine !== undefined && { quarantine }),
    bytesPerSecond: options.rate === undefined ? undefined : options.rate * MEBIBYTE,
  })
  errors += await printAll(looking.findings, print, () => describe(looking))
  print.end(looking)
  if (errors > 0) process.exitCode = 1
}

/** Prints findings as they come, for there may be many. @returns how many errors there were. */
async function printAll(
  findings: AsyncIterable<Finding>,
  print: JsonPrinter | TextPrinter,
  describe: () => string,
): Promise<number> {
  const endProgress = startProgress(describe)
  let errors = 0
  try {
    for await (const found of findings) {
      if (found.severity === 'error') errors++
      print.finding(found)
    }
    return errors
  } finally {
    endProgress()
  }
}

/** Whoever reads the findings, such as `head`, may have seen enough; nothing is known of the rest. */
function endUnread(error: Error): void {
  if ('code' in error && error.code === 'EPIPE') process.exit(1)
  throw error
}

function parseRate(text: string): number {
  const rate = Number(text)
  if (Number.isFinite(rate) && rate > 0) return rate
  throw new InvalidArgumentError('it must be a number above 0.')
}

/** Prints one document, piece by piece. */
class JsonPrinter {
  #separator = '{"findings":['
  #rebuilt = ''

  finding(found: Finding): void {
    process.stdout.write(`${this.#separator}\n${JSON.stringify(found)}`)
    this.#separator = ','
  }

  rebuilt({ counts }: Rebuild): void {
    this.#rebuilt = `"rebuilt":${JSON.stringify(counts)},\n`
  }

  end({ checked }: Fsck): void {
    const begun = this.#separator === ',' ? '' : this.#separator
    process.stdout.write(`${begun}],\n${this.#rebuilt}"checked":${JSON.stringify(checked)}}\n`)
  }
}

/** Prints a line for each finding, and sums. */
class TextPrinter {
  readonly #counts = { error: 0, notice: 0 }

  finding(found: Finding): void {
    this.#counts[found.severity]++
    process.stdout.write(`${lineOf(found)}\n`)
  }

  rebuilt(rebuild: Rebuild): void {
    process.stdout.write(`made again: ${describeRebuild(rebuild)}\n`)
  }

  end({ checked }: Fsck): void {
    const { repositories, manifests, tags, blobs, files, hashedBytes } = checked
    process.stdout.write(
      `checked ${repositories} repositories, ${manifests} manifests, ${tags} tags, ${blobs} contents in ${files} files, ` +
        `${(hashedBytes / MEBIBYTE).toFixed(1)} MiB hashed: ${this.#counts.error} errors, ${this.#counts.notice} notices\n`,
    )
  }
}

function describeRebuild({ counts: { repositories, manifests, tags, contents } }: Rebuild): string {
  return `${repositories} repositories, ${manifests} manifests, ${tags} tags, ${contents} contents`
}

/** A finding in one line. */
export function lineOf({ severity, kind, digest, repository, message }: Finding): string {
  const where = [digest, repository].filter((part) => part !== undefined).join(' in ')
  // Rows that are damaged may hold anything, such as what a terminal would carry out.
  return [`${severity}: ${kind}:`, where, message]
    .filter((part) => part !== '')
    .join(' ')
    .replaceAll(/\p{Cc}/gu, '?')
}

function describe({ checked: { blobs, manifests, files, hashedBytes } }: Fsck): string {
  return `${blobs} contents, ${manifests} manifests, ${files} files, ${Math.round(hashedBytes / MEBIBYTE)} MiB hashed`
}
