import { Command, Option } from 'commander'
import type { GarbageAnswer, GarbageRun, GarbageRunsAnswer } from '@entrepot/server/management'
import { type ManagementClient, withManagement } from '../management-client.ts'
import { counted, countText, sizeText } from '../size-text.ts'

const PROGRESS_INTERVAL_MS = 1_000
/** As many runs as fit on a screen; JSON has them all. */
const SHOWN_RUNS = 10

interface Options {
  readonly dryRun?: boolean
  readonly now?: boolean
  readonly json?: boolean
}

/** `entrepot gc [config.yml]` */
export function gc(): Command {
  return new Command('gc')
    .description('show what nothing needs, and free its space')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .addOption(new Option('--dry-run', 'only tell what a run now would remove').conflicts('now'))
    .option('--now', 'collect garbage now, and wait for the end')
    .option('--json', 'print JSON; with --dry-run it has the digests')
    .addHelpText(
      'after',
      `
Garbage is collected by itself while a server runs; this tells what is to be freed, and need not be run for it.
Without an option nothing is changed either.

Examples:
  entrepot gc
  entrepot gc --dry-run config.yml
  entrepot gc --now config.yml`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const show = options.now === true ? collect : options.dryRun === true ? tryOut : tellState
      const { value, text } = await withManagement(file, async (client) => show(client, options))
      process.stdout.write(options.json === true ? `${JSON.stringify(value)}\n` : text)
    })
}

interface Shown {
  readonly value: unknown
  readonly text: string
}

async function tellState(client: ManagementClient): Promise<Shown> {
  const garbage = await client.request<GarbageAnswer>('GET', 'garbage-collection/garbage')
  const runs = await client.request<GarbageRunsAnswer>('GET', 'garbage-collection/runs')
  const { reclaimable, resting, trash } = garbage
  const lines = [
    `Reclaimable now  ${sizeText(reclaimable.bytes)} in ${counted(reclaimable.contents, 'content')}`,
    `Resting          ${sizeText(resting.bytes)} in ${counted(resting.contents, 'content')}`,
    `In the trash     ${sizeText(trash.bytes)} in ${counted(trash.contents, 'content')}`,
    `Next run         ${nextRunText(client, runs)}`,
    '',
    ...runsTable(runs.runs.slice(0, SHOWN_RUNS)),
    '',
  ]
  return { value: { ...garbage, ...runs }, text: lines.join('\n') }
}

function nextRunText(client: ManagementClient, { nextRunAt, underWay }: GarbageRunsAnswer): string {
  if (underWay !== null) return `one is under way since ${timeText(underWay.startedAt)}`
  if (nextRunAt !== null) return timeText(nextRunAt)
  return client.isServed ? 'none by itself: that is disabled, or the registry is read-only' : 'when a server is started'
}

function runsTable(runs: readonly GarbageRun[]): string[] {
  if (runs.length === 0) return ['There was no run yet.']
  const cells = runs.map((run) => [
    timeText(run.startedAt),
    run.startedBy,
    `${(run.durationMs / 1_000).toFixed(1)} s`,
    countText(run.unlinkedBlobs),
    countText(run.removedContents),
    countText(run.removedBytes),
    run.error ?? 'done',
  ])
  const table = [['Last runs', 'started by', 'took', 'unlinked', 'removed', 'bytes', 'end'], ...cells]
  const widths = table.reduce<number[]>(
    (found, row) => row.map((cell, column) => Math.max(cell.length, found[column] ?? 0)),
    [],
  )
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

async function tryOut(client: ManagementClient, options: Options): Promise<Shown> {
  const query = options.json === true ? '?digests=true' : ''
  const { reclaimable, digests } = await client.request<GarbageAnswer>('GET', `garbage-collection/garbage${query}`)
  const { blobs, contents, bytes } = reclaimable
  return {
    value: { ...reclaimable, digests },
    text:
      `A run now would take ${counted(blobs, 'blob')} from repositories, remove ${counted(contents, 'content')} ` +
      `and free ${sizeText(bytes)}.\n`,
  }
}

async function collect(client: ManagementClient): Promise<Shown> {
  const progress = setInterval(() => {
    void client.request<GarbageRunsAnswer>('GET', 'garbage-collection/runs').then(
      ({ underWay }) => {
        if (underWay !== null) process.stderr.write(`${doneText('so far', underWay)}\n`)
      },
      // The run itself tells what is wrong.
      () => {},
    )
  }, PROGRESS_INTERVAL_MS)
  try {
    const run = await client.request<GarbageRun>('POST', 'garbage-collection/runs')
    if (run.error !== null) throw new Error(`the run did not get to its end: ${run.error}`)
    return { value: run, text: `${doneText(`in ${(run.durationMs / 1_000).toFixed(1)} s`, run)}\n` }
  } finally {
    clearInterval(progress)
  }
}

function doneText(when: string, run: Pick<GarbageRun, 'unlinkedBlobs' | 'removedContents' | 'removedBytes'>): string {
  return (
    `Took ${counted(run.unlinkedBlobs, 'blob')} from repositories, removed ${counted(run.removedContents, 'content')} ` +
    `and freed ${sizeText(run.removedBytes)} ${when}.`
  )
}

/** A time for people, in the time zone of the machine. */
function timeText(iso: string): string {
  const time = new Date(iso)
  return `${time.toLocaleDateString('sv-SE')} ${time.toLocaleTimeString('sv-SE')}`
}
