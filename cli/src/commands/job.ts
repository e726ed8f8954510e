import { Command, InvalidArgumentError, Option } from 'commander'
import type { Job, JobLinesAnswer, JobPage } from '@entrepot/server/management'
import { type ManagementClient, withManagement } from '../management-client.ts'

const FILE_HELP = 'the file; without it what "entrepot serve" would use'
const STATES = ['queued', 'running', 'done', 'failed', 'cancelled']
const SHOWN_JOBS = 50
const PAGE_SIZE = 1_000

interface Options {
  readonly state?: string
  readonly kind?: string
  readonly limit?: number
  readonly before?: number
  readonly json?: boolean
}

/** `entrepot job list|show|logs|cancel|retry` */
export function job(): Command {
  return new Command('job')
    .description('see what is done in the background, end it, or have it tried again')
    .addCommand(list())
    .addCommand(
      about('show', 'tell all about a job', async (client, id) => {
        const found = await client.request<Job>('GET', `jobs/${id}`)
        return { value: found, text: describe(found) }
      }),
    )
    .addCommand(
      about('logs', 'print what a job has written', async (client, id) => {
        const answer = await client.request<JobLinesAnswer>('GET', `jobs/${id}/lines`)
        return { value: answer, text: answer.lines.map(({ at, text }) => `${at}  ${text}\n`).join('') }
      }),
    )
    .addCommand(
      about('cancel', 'end a job that has not ended', async (client, id) => {
        const found = await client.request<Job>('POST', `jobs/${id}/cancellation`)
        const isOver = found.state === 'cancelled'
        const text = isOver ? `job ${id} is cancelled\n` : `job ${id} was told to end, and will within seconds\n`
        return { value: found, text }
      }),
    )
    .addCommand(
      about('retry', 'have a job tried again that failed or was cancelled', async (client, id) => {
        const found = await client.request<Job>('POST', `jobs/${id}/retry`)
        const when = client.isServed ? 'is tried again now' : 'will be tried again when a server is started'
        return { value: found, text: `job ${id} ${when}\n` }
      }),
    )
}

function list(): Command {
  return new Command('list')
    .description('list jobs, the newest first')
    .argument('[config.yml]', FILE_HELP)
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(STATES))
    .option('--kind <kind>', 'only jobs of this kind')
    .addOption(new Option('--limit <number>', 'how many').argParser(toNumber).default(SHOWN_JOBS))
    .addOption(new Option('--before <id>', 'only jobs that were added before this one').argParser(toNumber))
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  entrepot job list --state failed')
    .action(async (file: string | undefined, options: Options) => {
      await withManagement(file, async (client) => {
        const jobs = await listUpTo(client, options)
        if (options.json === true) process.stdout.write(`${JSON.stringify({ jobs })}\n`)
        else for (const entry of jobs) process.stdout.write(`${toLine(entry)}\n`)
      })
    })
}

interface Shown {
  readonly value: object
  readonly text: string
}

/** A command about one job. */
function about(
  verb: string,
  description: string,
  act: (client: ManagementClient, id: number) => Promise<Shown>,
): Command {
  return new Command(verb)
    .description(description)
    .argument('<id>', 'the number of the job', toNumber)
    .argument('[config.yml]', FILE_HELP)
    .option('--json', 'print JSON')
    .addHelpText('after', `\nExample:\n  entrepot job ${verb} 17`)
    .action(async (id: number, file: string | undefined, options: Options) => {
      await withManagement(file, async (client) => {
        const { value, text } = await act(client, id)
        process.stdout.write(options.json === true ? `${JSON.stringify(value)}\n` : text)
      })
    })
}

async function listUpTo(client: ManagementClient, options: Options): Promise<Job[]> {
  const { state, kind, limit = SHOWN_JOBS } = options
  const jobs: Job[] = []
  let { before } = options
  do {
    const query = new URLSearchParams({ limit: String(Math.min(limit - jobs.length, PAGE_SIZE)) })
    for (const [name, value] of Object.entries({ state, kind, before })) {
      if (value !== undefined) query.set(name, String(value))
    }
    const page: JobPage = await client.request('GET', `jobs?${query.toString()}`)
    jobs.push(...page.jobs)
    before = page.next
  } while (before !== undefined && jobs.length < limit)
  return jobs
}

function toLine({ id, createdAt, state, kind, attempts, progress, error }: Job): string {
  const rest = [progress, error].filter((text) => text !== null).join('; ')
  return `${String(id).padStart(6)}  ${createdAt}  ${state.padEnd(9)}  ${kind}  attempts ${attempts}  ${rest}`.trimEnd()
}

function describe(found: Job): string {
  const { payload, ...fields } = found
  const lines = Object.entries(fields).flatMap(([name, value]) =>
    value === null ? [] : [`${name.padEnd(10)} ${String(value)}\n`],
  )
  return `${lines.join('')}payload    ${JSON.stringify(payload)}\n`
}

function toNumber(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It must be a whole number of 1 or more.')
}
