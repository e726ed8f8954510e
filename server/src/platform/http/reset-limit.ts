import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'

/** As many as may be under way at once may be given up at once. */
const BURST = 250
/** So many more in each second. */
const PER_SECOND = 33

/**
 * Parts with a client of HTTP/2 that opens requests and gives them up again and again: each has cost the server the most of
 * a request already (CVE-2023-44487), and so has one that the client makes the server give up. Node.js has such a limit
 * itself, but goes on with all that came in the same read.
 */
export function limitResets(session: ServerHttp2Session): void {
  let left = BURST
  let countedAt = performance.now()
  session.on('stream', (stream: ServerHttp2Stream) => {
    stream.once('close', () => {
      if (!stream.aborted && stream.rstCode === constants.NGHTTP2_NO_ERROR) return
      const now = performance.now()
      left = Math.min(BURST, left + ((now - countedAt) / 1_000) * PER_SECOND) - 1
      countedAt = now
      if (left < 0 && !session.destroyed) session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
    })
  })
}
