import type { FastifyReply } from 'fastify'
import { type Database, ReadCache } from '#platform/database'
import type { Links } from './paths.ts'

/** What pages are remembered in. One alone may take a quarter of it, as a list of 200,000 tags does. */
const MAX_REMEMBERED_BYTES = 16 * 1024 * 1024

/** Which page of which list is sent. */
interface NameList {
  /** The path of the list, below `/v2/`. */
  readonly path: string
  /** The name before the first one. */
  readonly after: string
  /** How many names there are on the page at most. */
  readonly limit: number
  /** Up to so many of the names after `after`, in order. */
  readonly list: (limit: number) => Promise<string[]>
  /** The answer that has these names. */
  readonly answer: (names: readonly string[]) => object
}

interface RenderedPage {
  readonly body: Buffer
  /** The last name, where others follow. */
  readonly last: string | undefined
}

/** Answers with pages of names. Whoever waits for a new tag asks for the same page again and again. */
export class NamePages {
  readonly #links: Links
  readonly #remembered: ReadCache<RenderedPage>

  constructor({ database, links }: { database: Database; links: Links }) {
    this.#links = links
    this.#remembered = new ReadCache(database, { bytes: MAX_REMEMBERED_BYTES, sizeOf: ({ body }) => body.length })
  }

  /** Sends a page, with a link to the next one where there is more. */
  async send(reply: FastifyReply, names: NameList): Promise<FastifyReply> {
    const { path, after, limit } = names
    const { body, last } = await this.#remembered.get(`${path} ${limit} ${after}`, async () => render(names))
    if (last !== undefined) void reply.header('link', this.#links.next(path, { n: String(limit), last }))
    return reply.type('application/json; charset=utf-8').send(body)
  }
}

async function render({ limit, list, answer }: NameList): Promise<RenderedPage> {
  const found = await list(limit + 1)
  const names = found.slice(0, limit)
  return { body: Buffer.from(JSON.stringify(answer(names))), last: found.length > limit ? names.at(-1) : undefined }
}
