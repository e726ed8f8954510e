import { Agent, request as httpRequest } from 'node:http'
import { type Descriptor, digestOf, imageDocument, mediaTypes, randomBlob } from '../content.ts'

/** A client that counts how its requests end. */
export class LoadClient {
  readonly #origin: string
  readonly #agent: Agent
  /** By status; 0 for connections that broke and for answers with other bytes than they should have. */
  readonly statuses = new Map<number, number>()

  /** @param sockets how many connections it uses at most */
  constructor(origin: string, sockets: number) {
    this.#origin = origin
    this.#agent = new Agent({ keepAlive: true, maxSockets: sockets })
  }

  close(): void {
    this.#agent.destroy()
  }

  /** How many requests were sent, and how many of them ended in an error other than being told to come later. */
  get counts(): { requests: number; errors: number } {
    let [requests, errors] = [0, 0]
    for (const [status, count] of this.statuses) {
      requests += count
      if (status < 200 || (status >= 300 && status !== 429 && status !== 503)) errors += count
    }
    return { requests, errors }
  }

  /** Pushes an image with a tag. @returns the paths of it and of its layer; undefined if it was not taken */
  async push(name: string, tag: string, layerBytes: number): Promise<{ manifest: string; layer: string } | undefined> {
    const [config, layer] = [randomBlob(200), randomBlob(layerBytes)]
    for (const bytes of [config, layer]) {
      const path = `/v2/${name}/blobs/uploads/?digest=${digestOf(bytes)}`
      if ((await this.send('POST', path, { bytes, mediaType: mediaTypes.octetStream })) !== 201) return undefined
    }
    const bytes = imageDocument(describeBlob(config), [describeBlob(layer)])
    const manifest = `/v2/${name}/manifests/${tag}`
    if ((await this.send('PUT', manifest, { bytes, mediaType: mediaTypes.image })) !== 201) return undefined
    return { manifest, layer: `/v2/${name}/blobs/${digestOf(layer)}` }
  }

  /** Sends a request, reads its answer to the end, and counts it. @returns its status, 0 if it broke */
  async send(method: string, path: string, body?: { bytes: Buffer; mediaType: string }): Promise<number> {
    const status = await this.#exchange(method, path, body).catch(() => 0)
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    return status
  }

  async #exchange(method: string, path: string, body?: { bytes: Buffer; mediaType: string }): Promise<number> {
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(this.#origin + path, {
        method,
        agent: this.#agent,
        headers: body && { 'Content-Type': body.mediaType, 'Content-Length': body.bytes.length },
      })
      outgoing.on('error', reject)
      outgoing.setTimeout(30_000, () => outgoing.destroy(new Error('no answer')))
      outgoing.on('response', (incoming) => {
        let received = 0
        incoming.on('data', (chunk: Buffer) => (received += chunk.length))
        incoming.on('error', reject)
        incoming.on('end', () => {
          const expected = incoming.headers['content-length']
          const isWhole = expected === undefined || Number(expected) === received
          if (isWhole) resolve(incoming.statusCode ?? 0)
          else reject(new Error(`${received} bytes instead of ${expected}`))
        })
      })
      outgoing.end(body?.bytes)
    })
  }
}

function describeBlob(bytes: Buffer): Descriptor {
  return { mediaType: mediaTypes.octetStream, digest: digestOf(bytes), size: bytes.length }
}
