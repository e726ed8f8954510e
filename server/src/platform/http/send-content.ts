import { ServerResponse } from 'node:http'
import { constants, Http2ServerResponse } from 'node:http2'
import { setImmediate } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { BufferPool } from './buffer-pool.ts'
import { descriptorOf, type KernelSend } from './kernel-send.ts'
import type { ByteRange } from './range.ts'

/** What the kernel moves in one call, and in one turn of the event loop: other clients come in between. */
const KERNEL_CALL_BYTES = 1024 * 1024
const KERNEL_TURN_BYTES = 8 * KERNEL_CALL_BYTES
/** So much of what is being checked waits for the end of that. */
const HELD_BACK_BYTES = 64 * 1024
/** What is written in one piece: a client that takes so much in time is not idle. */
const PIECE_BYTES = 64 * 1024
/** The kernel tells of progress only when a third of its own buffer, which has megabytes, is free again (tcp(7)). */
export const PATIENCE = 4
const PROGRESS_INTERVAL_MS = 1_000

/** Content that is open for reading. */
export interface SendableContent {
  /** The file's number for the kernel, where the content is a file. */
  readonly descriptor: number | undefined
  /** Fills the target from a position on; gives the number of bytes, 0 where there are none. `end` is the last one wanted. */
  read(target: Uint8Array, position: number, end: number): Promise<number>
  /** For content of which nobody knows yet whether it is right. */
  readonly check?: ContentCheck | undefined
  /** To be told when sending it has failed for another reason than the client. */
  distrust?(): void
  close(): Promise<void>
}

/** Finds out beside the sending whether content is right. */
interface ContentCheck {
  /** Begins; tells whether an answer that gives so many bytes must wait for the end of it. */
  begin(lengthBytes: number): boolean
  /** Waits for the end. Throws when the content is not right. */
  confirm(): Promise<void>
}

type Response = Pick<
  ServerResponse,
  'write' | 'end' | 'destroy' | 'setHeader' | 'statusCode' | 'socket' | 'destroyed' | 'once'
>

/** Sends content that is too large to be held in memory. */
export class ContentSender {
  readonly #kernel: KernelSend | undefined
  readonly #idleTimeoutMs: number
  readonly #buffers = new BufferPool()

  /** @param options.idleTimeoutMs a client that takes nothing for about four times as long is given up. */
  constructor(options: { kernel: KernelSend | undefined; idleTimeoutMs: number }) {
    this.#kernel = options.kernel
    this.#idleTimeoutMs = options.idleTimeoutMs
  }

  /**
   * Answers with the status and headers that the reply has so far, and a part of the content, which is closed at the
   * end. When the content is shorter than it said, or the client goes away, the connection is cut: never does an answer
   * look complete that is not. Of content that is still being checked the last piece waits for that.
   */
  async send(reply: FastifyReply, content: SendableContent, range: ByteRange): Promise<void> {
    reply.hijack()
    const response: Response = reply.raw
    // Whoever asks and goes away at once, thousands of times, must not make as many buffers wait for reads: over HTTP/2 the
    // end of a request may have come with it, and is only seen after this turn of the event loop.
    if (response instanceof Http2ServerResponse) await setImmediate()
    if (isGone(response)) return content.close()
    const check = content.check?.begin(range.end + 1 - range.start) === true ? content.check : undefined
    const kernel = canUseKernel(response) ? this.#kernel : undefined
    const idle = setTimeout(() => cut(response), PATIENCE * this.#idleTimeoutMs)
    try {
      for (const [name, value] of Object.entries(reply.getHeaders())) {
        if (value !== undefined) response.setHeader(name, value)
      }
      response.statusCode = reply.statusCode
      const transfer = new Transfer(response, content, () => void idle.refresh())
      await (content.descriptor === undefined || kernel === undefined
        ? this.#sendByCopy(transfer, range, check)
        : this.#sendByKernel(transfer, { kernel, file: content.descriptor }, range, check))
      response.end()
    } catch (error) {
      if (!(error instanceof ClientGoneError)) {
        reply.log.error({ err: error }, 'a download was cut off')
        content.distrust?.()
      }
      cut(response)
    } finally {
      clearTimeout(idle)
      await content.close()
    }
  }

  /**
   * Reads the next bytes while the ones before them are written, but not before a client has taken the first ones: whoever
   * takes nothing holds one small buffer. The last bytes are read before the check has ended.
   */
  async #sendByCopy(transfer: Transfer, { start, end }: ByteRange, check: ContentCheck | undefined): Promise<void> {
    const firstEnd = Math.min(start + PIECE_BYTES - 1, check === undefined ? end : end - HELD_BACK_BYTES)
    let position = start
    if (position <= firstEnd) position += await this.#copyOnce(transfer, { start, end: firstEnd }, end)
    if (position > end) return
    let [filled, filling] = [this.#buffers.take(), this.#buffers.take()]
    let isDone = false
    try {
      let next = transfer.read(filled, position, end)
      while (position <= end) {
        const bytes = await next
        position += bytes.byteLength
        if (position <= end) next = transfer.read(filling, position, end)
        else if (check !== undefined) await transfer.wait(check.confirm())
        // The next write reports what is wrong with a read that nobody waits for now.
        next.catch(() => {})
        await transfer.write(bytes)
        ;[filled, filling] = [filling, filled]
      }
      isDone = true
    } finally {
      for (const buffer of [filled, filling]) this.#release(buffer, isDone)
    }
  }

  /**
   * What is in the page cache goes from the kernel to the connection; everything else, any doubt, and the last bytes of
   * what is still being checked, by copy.
   */
  async #sendByKernel(
    transfer: Transfer,
    { kernel, file }: { kernel: KernelSend; file: number },
    { start, end }: ByteRange,
    check: ContentCheck | undefined,
  ): Promise<void> {
    const kernelEnd = check === undefined ? end : end - HELD_BACK_BYTES
    // The first bytes are written together with the headers, before which nothing may be sent. Later an ordinary write of a
    // few bytes tells, by ending, that the connection takes more.
    let [position, isSmooth] = [start, true]
    while (position <= kernelEnd) {
      const bytes = isSmooth ? kernel.readCached(file, position, kernelEnd + 1 - position) : undefined
      if (bytes === undefined) {
        const range = { start: position, end: Math.min(kernelEnd, position + KERNEL_CALL_BYTES - 1) }
        position += await this.#copyOnce(transfer, range)
      } else {
        await transfer.write(bytes)
        position += bytes.byteLength
      }
      ;({ position, isSmooth } = await sendWhatIsTaken(kernel, transfer, { file, start: position, end: kernelEnd }))
    }
    if (check !== undefined) await sendLast(transfer, { start: position, end }, check)
  }

  /**
   * Reads and writes what one buffer takes; gives the number of bytes.
   * @param wantedEnd the last byte that will be read after these.
   */
  async #copyOnce(transfer: Transfer, { start, end }: ByteRange, wantedEnd = end): Promise<number> {
    const buffer = this.#buffers.take(end + 1 - start)
    let isDone = false
    try {
      const bytes = await transfer.read(buffer.subarray(0, end + 1 - start), start, wantedEnd)
      await transfer.write(bytes)
      isDone = true
      return bytes.byteLength
    } finally {
      this.#release(buffer, isDone)
    }
  }

  /** After a failure a buffer may still be on its way. */
  #release(buffer: Buffer, isFree: boolean): void {
    if (isFree) this.#buffers.giveBack(buffer)
    else this.#buffers.forget()
  }
}

/** HTTP/2 frames what it sends, and what is encrypted must not be sent past the encryption. */
function canUseKernel(response: Response): boolean {
  return response instanceof ServerResponse && response.socket !== null && !('encrypted' in response.socket)
}

/** Ends an answer so that it cannot be taken for a whole one. */
function cut(response: unknown): void {
  if (response instanceof Http2ServerResponse) response.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  else if (response instanceof ServerResponse) response.destroy()
}

/**
 * Sends until the connection takes no more, or the file's next bytes would have to come from the disk.
 * @returns `isSmooth` unless what comes next is to be copied: it is not in the page cache, or nothing at all was taken.
 */
async function sendWhatIsTaken(
  kernel: KernelSend,
  transfer: Transfer,
  { file, start, end }: { file: number; start: number; end: number },
): Promise<{ position: number; isSmooth: boolean }> {
  let position = start
  while (position <= end) {
    const turnEnd = Math.min(end + 1, position + KERNEL_TURN_BYTES)
    const connection = descriptorOf(transfer.response.socket)
    if (connection === undefined) return { position, isSmooth: false }
    while (position < turnEnd) {
      const length = Math.min(KERNEL_CALL_BYTES, turnEnd - position)
      if (!kernel.isCached(file, position + length - 1)) return { position, isSmooth: false }
      const sent = kernel.send(connection, file, position, length)
      if (sent <= 0) return { position, isSmooth: position > start }
      position += sent
    }
    transfer.noteProgress()
    if (position <= end) await setImmediate()
  }
  return { position, isSmooth: true }
}

/** Sends the end of what is being checked. It is read before the check has ended, and written after that. */
async function sendLast(transfer: Transfer, { start, end }: ByteRange, check: ContentCheck): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(HELD_BACK_BYTES)
  let position = start
  while (position <= end) {
    const bytes = await transfer.read(buffer, position, end)
    position += bytes.byteLength
    if (position > end) await transfer.wait(check.confirm())
    await transfer.write(bytes)
  }
}

/** Whether there is nobody left to answer: HTTP/2's answers do not say so themselves. */
function isGone(response: Response): boolean {
  return response instanceof Http2ServerResponse ? response.stream.closed : response.destroyed
}

/** The client went away; there is nobody left to tell. */
class ClientGoneError extends Error {}

/** One answer on its way. */
class Transfer {
  readonly response: Response
  readonly noteProgress: () => void
  readonly #content: SendableContent
  #fail: ((reason: Error) => void) | undefined

  constructor(response: Response, content: SendableContent, noteProgress: () => void) {
    this.response = response
    this.noteProgress = noteProgress
    this.#content = content
    response.once('close', () => this.#fail?.(new ClientGoneError()))
  }

  /** Reads at least one byte from a position on, none after `end`, as far as the buffer goes. */
  async read(buffer: Buffer, position: number, end: number): Promise<Buffer> {
    const target = buffer.subarray(0, end + 1 - position)
    const length = await this.#content.read(target, position, end)
    if (length > 0) return target.subarray(0, length)
    throw new Error(`the content ends at byte ${position}, before its size says so`)
  }

  /** Waits for work, as long as there is a client; meanwhile it is not the client who is idle. */
  async wait(work: Promise<void>): Promise<void> {
    const progress = setInterval(this.noteProgress, PROGRESS_INTERVAL_MS)
    try {
      await new Promise<void>((resolve, reject) => {
        this.#fail = reject
        if (isGone(this.response)) reject(new ClientGoneError())
        work.then(resolve, reject)
      })
    } finally {
      clearInterval(progress)
    }
  }

  /** Writes, and waits until the bytes have left this process. Each piece that has is progress. */
  async write(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#fail = reject
      if (isGone(this.response)) {
        reject(new ClientGoneError())
        return
      }
      for (let start = 0; start < bytes.byteLength; start += PIECE_BYTES) {
        const end = start + PIECE_BYTES
        this.response.write(bytes.subarray(start, end), (error) => {
          if (error) reject(new ClientGoneError())
          this.noteProgress()
          if (end >= bytes.byteLength) resolve()
        })
      }
    })
  }
}
