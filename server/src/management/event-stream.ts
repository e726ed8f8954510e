import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { Listener, TransferEvent } from '#transfer'

/**
 * Answers with what work tells, each as a line of JSON, as it happens. Work that fails tells so in the last line; whoever
 * goes away before the end aborts it.
 */
export function sendEvents<Counts>(
  reply: FastifyReply,
  work: (tell: Listener<Counts>, signal: AbortSignal) => Promise<void>,
): FastifyReply {
  const lines = new PassThrough()
  const gone = new AbortController()
  const tell = async (event: TransferEvent<Counts>) => {
    if (lines.destroyed || lines.write(`${JSON.stringify(event)}\n`)) return
    await once(lines, 'drain', { signal: gone.signal })
  }
  lines.once('close', () => gone.abort(new Error('nobody waits for the end any more; what was done stays done')))
  // What goes wrong is told below.
  lines.on('error', () => {})
  void work(tell, gone.signal)
    .catch(async (error: unknown) => {
      reply.log.error({ err: error }, 'what was asked for by command did not get to its end')
      await tell({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
    })
    .catch(() => {})
    .finally(() => lines.end())
  return reply.type('application/x-ndjson').send(lines)
}
