import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Agent, type AgentOptions, request } from 'node:https'
import { buffer } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'

const ANSWER_TIMEOUT_MS = 10_000

export interface SecureAnswer {
  readonly status: number
  readonly httpVersion: string
  readonly body: Buffer
  /** SHA-256 of the certificate that the server showed. */
  readonly fingerprint: string
  /** The version of TLS, such as `TLSv1.3`. */
  readonly protocol: string | null
  /** The cipher, as the RFCs call it. */
  readonly cipher: string
}

/** One GET over TLS and HTTP/1.1; `ca` is the file of the certificate that the server must show. */
export async function secureGet(
  url: string,
  options: { ca: string; agent?: Agent } & Pick<AgentOptions, 'cert' | 'ciphers' | 'key' | 'minVersion' | 'maxVersion'>,
): Promise<SecureAnswer> {
  const { ca, agent = false, ...tls } = options
  const outgoing = request(url, { ...tls, agent, ca: await readFile(ca) })
  outgoing.setTimeout(ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error(`no answer from ${url}`)))
  outgoing.end()
  const [incoming] = await once(outgoing, 'response')
  const socket: TLSSocket = incoming.socket
  const { fingerprint256 } = socket.getPeerCertificate()
  const protocol = socket.getProtocol()
  const cipher = socket.getCipher().standardName
  const { statusCode: status, httpVersion } = incoming
  return { status, httpVersion, body: await buffer(incoming), fingerprint: fingerprint256, protocol, cipher }
}
