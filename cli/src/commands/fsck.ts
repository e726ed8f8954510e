import { Command, InvalidArgumentError } from 'commander'
import type { Config } from '@entrepot/server/config'
import type { Finding, Fsck } from '@entrepot/server/fsck'
import { withManagement } from '../management-client.ts'
import { startProgress } from '../progress.ts'

const MEBIBYTE = 1024 * 1024

interface Options {
  readonly online?: true
  readonly deep?: true
  readonly quarantine?: true
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
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The exit code is 0 when nothing is wrong (notices are no harm), 1 when something is. Without --quarantine nothing is
changed.

Examples:
  entrepot fsck --deep /etc/entrepot/config.yml
  entrepot fsck --online --deep --rate 50
  entrepot fsck --online --deep --quarantine`,
    )
    .action(async (file: string | undefined, options: Options) => {
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
      await check(loadConfig({ file }).config, options)
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
  const looking = await server.fsck({
    config,
    isOnline: options.online ?? false,
    isDeep: options.deep ?? false,
    isQuarantining: options.quarantine ?? false,
    ...(quarantine !== undefined && { quarantine }),
    bytesPerSecond: options.rate === undefined ? undefined : options.rate * MEBIBYTE,
  })
  process.stdout.once('error', endUnread)
  const endProgress = startProgress(() => describe(looking))
  try {
    const errors = options.json ? await printJson(looking) : await printText(looking)
    if (errors > 0) process.exitCode = 1
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

/** Prints findings as they come, for there may be many. @returns how many errors there were. */
async function printJson({ checked, findings }: Fsck): Promise<number> {
  let errors = 0
  let separator = ''
  process.stdout.write('{"findings":[')
  for await (const found of findings) {
    if (found.severity === 'error') errors++
    process.stdout.write(`${separator}\n${JSON.stringify(found)}`)
    separator = ','
  }
  process.stdout.write(`],\n"checked":${JSON.stringify(checked)}}\n`)
  return errors
}

/** @returns how many errors there were. */
async function printText({ checked, findings }: Fsck): Promise<number> {
  const counts = { error: 0, notice: 0 }
  for await (const found of findings) {
    counts[found.severity]++
    process.stdout.write(`${lineOf(found)}\n`)
  }
  const { repositories, manifests, tags, blobs, files, hashedBytes } = checked
  process.stdout.write(
    `checked ${repositories} repositories, ${manifests} manifests, ${tags} tags, ${blobs} contents in ${files} files, ` +
      `${(hashedBytes / MEBIBYTE).toFixed(1)} MiB hashed: ${counts.error} errors, ${counts.notice} notices\n`,
  )
  return counts.error
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
