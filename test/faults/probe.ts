import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

/** When a server that does nothing takes longer, the machine was busy. */
const BUSY_MS = 50
/** More such looks are not left out: what is measured may be what keeps the machine busy. */
const MOST_BUSY_SHARE = 0.1

/** How fast a URL was answered. */
export interface Measured {
  readonly count: number
  readonly p99Ms: number
  /** The same without the looks that found the machine busy, unless they are many. */
  readonly calmP99Ms: number
  /** Of a server that does nothing, asked at the same moments. */
  readonly controlP99Ms: number
}

/**
 * Begins to ask for a URL every 20 ms from another process, and a server that does nothing beside it.
 * @param trust.certificate the file of a certificate that the server may show.
 * @returns ends it, and tells how long answers took.
 */
export async function startProbe(
  t: TestContext,
  url: string,
  trust: { certificate?: string } = {},
): Promise<() => Promise<Measured>> {
  const control = start(t, 'control-server.ts', [])
  const [port] = await once(control.stdout, 'data')
  const urls = [url, `http://127.0.0.1:${String(port).trim()}/`]
  const probe = start(t, 'probe-process.ts', urls, { NODE_EXTRA_CA_CERTS: trust.certificate })
  let printed = ''
  probe.stdout.on('data', (chunk: Buffer) => void (printed += chunk.toString()))
  await once(probe.stdout, 'data')
  return async () => {
    probe.stdin.end()
    await once(probe, 'close')
    control.kill()
    const looks: unknown = JSON.parse(printed)
    assert.ok(Array.isArray(looks) && looks.length > 0, `${url} was hardly asked for`)
    const pairs = looks.map((look: readonly [unknown, unknown]) => [Number(look[0]), Number(look[1])] as const)
    const calm = pairs.filter(([, controlMs]) => controlMs < BUSY_MS)
    const p99Ms = p99(pairs.map(([ms]) => ms))
    return {
      count: pairs.length,
      p99Ms,
      calmP99Ms: calm.length < pairs.length * (1 - MOST_BUSY_SHARE) ? p99Ms : p99(calm.map(([ms]) => ms)),
      controlP99Ms: p99(pairs.map(([, controlMs]) => controlMs)),
    }
  }
}

function start(
  t: TestContext,
  file: string,
  parameters: readonly string[],
  environment: Record<string, string | undefined> = {},
): ChildProcessByStdio<Writable, Readable, null> {
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url))
  const child = spawn(process.execPath, [path, ...parameters], {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.after(() => child.kill())
  return child
}

function p99(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  return Math.round(sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY)
}
