import type { Skipped, TransferEvent } from '@entrepot/server/management'
import type { ManagementClient } from './management-client.ts'
import { startProgress } from './progress.ts'

/** Work that tells how it goes on. */
export interface Transfer<Counts> {
  /** Does the work, or has it done, and lets it be heard. */
  run(hear: (event: TransferEvent<Counts>) => void): Promise<void>
  /** How far it is, in a line. */
  describe(counts: Partial<Counts>): string
}

/** How a transfer ended. */
export interface Outcome<Counts> {
  readonly counts: Partial<Counts>
  /** What could not be carried over, but for tags that stay. */
  readonly failures: number
}

/** Runs a transfer, prints what is skipped as it comes, and tells on standard error how far it is. */
export async function printTransfer<Counts>(transfer: Transfer<Counts>, isJson: boolean): Promise<Outcome<Counts>> {
  let counts: Partial<Counts> = {}
  let failures = 0
  let separator = ''
  if (isJson) process.stdout.write('{"skipped":[')
  const endProgress = startProgress(() => transfer.describe(counts))
  try {
    await transfer.run((event) => {
      if (event.type === 'failed') return
      if (event.type !== 'skipped') {
        counts = { ...event.counts }
        return
      }
      const { type: _type, ...skipped } = event
      if (event.reason !== 'tag-differs') failures++
      process.stdout.write(isJson ? `${separator}\n${JSON.stringify(skipped)}` : `${lineOf(skipped)}\n`)
      separator = ','
    })
  } finally {
    endProgress()
  }
  if (isJson) process.stdout.write(`],\n"counts":${JSON.stringify(counts)}`)
  return { counts, failures }
}

/** Lets whoever works in the folder carry a transfer out. @throws Error with the reason when it fails. */
export async function follow<Counts>(
  client: ManagementClient,
  { url, body }: { url: string; body: object },
  hear: (event: TransferEvent<Counts>) => void,
): Promise<void> {
  let isDone = false
  for await (const event of client.events<Counts>(url, body)) {
    if (event.type === 'failed') throw new Error(event.message)
    isDone ||= event.type === 'done'
    hear(event)
  }
  if (!isDone) throw new Error('the server went away before the end; what was done stays done: do it again')
}

function lineOf({ reason, repository, tag, digest, message }: Skipped): string {
  const name = tag === undefined ? repository : `${repository}:${tag}`
  const where = [name, digest].filter((part) => part !== undefined && part !== '').join(' ')
  // Names come from elsewhere, and may hold anything, such as what a terminal would carry out.
  return `skipped: ${reason}: ${where}: ${message}`.replaceAll(/\p{Cc}/gu, '?')
}
