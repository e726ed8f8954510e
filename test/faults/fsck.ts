import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { entrepot, temporaryFolder } from '../operations/command.ts'
import { knownDatabase } from '../test-database.ts'
import { testStorage } from '../test-storage.ts'
import type { Expected } from './corruptions.ts'

/** What `entrepot fsck --json` tells. */
export interface FsckReport {
  readonly checked: Readonly<Record<string, number>>
  readonly findings: readonly {
    readonly kind: string
    readonly severity: 'error' | 'notice'
    readonly digest?: string
    readonly repository?: string
    readonly message: string
  }[]
}

/** Where to look: a data folder, or the configuration of the server that works there. */
export type FsckTarget = string | { readonly config: string }

export interface FsckRunOptions {
  /** Beside a running server; otherwise none may work in the folder. */
  readonly isOnline?: boolean
  /** Further options of the command; `--deep` without them. */
  readonly options?: readonly string[]
  /** How long it may take. */
  readonly timeoutMs?: number
}

/** Runs `entrepot fsck --json`, and gives its exit code and what it found. */
export async function runFsck(
  t: TestContext,
  target: FsckTarget,
  { isOnline = false, options = ['--deep'], timeoutMs = 120_000 }: FsckRunOptions = {},
): Promise<FsckReport & { readonly code: number | null }> {
  const file = typeof target === 'string' ? await writeConfigOf(t, target) : target.config
  const args = ['fsck', '--json', ...(isOnline ? ['--online'] : []), ...options, file]
  const { code, stdout, stderr } = await entrepot(args, { timeoutMs })
  assert.match(stdout, /^\{[^]*\}\n$/, `entrepot ${args.join(' ')} ended with ${String(code)}: ${stderr}`)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the command promises
  return { code, ...(JSON.parse(stdout) as FsckReport) }
}

/**
 * Asserts that everything in a data folder is there and right, down to the last byte. Whoever has harmed a registry ends
 * with this.
 */
export async function expectSound(t: TestContext, target: FsckTarget, options: FsckRunOptions = {}): Promise<void> {
  const { code, findings } = await runFsck(t, target, options)
  const errors = findings.filter((found) => found.severity === 'error')
  assert.deepEqual(errors, [], 'entrepot fsck finds errors')
  assert.equal(code, 0)
}

/** Asserts that a check has found what must be found, and called nothing else wrong. */
export function expectFindings(
  { code, findings }: Awaited<ReturnType<typeof runFsck>>,
  expected: Expected,
  consequences: readonly string[] = [],
): void {
  for (const [kind, digest] of expected) {
    const found = findings.some((found) => found.kind === kind && (digest ?? found.digest) === found.digest)
    assert.ok(found, `${kind} of ${String(digest)} is not among ${JSON.stringify(findings, null, 1)}`)
  }
  const others = findings.filter(
    ({ kind, digest, severity }) =>
      severity === 'error' &&
      !consequences.includes(kind) &&
      !expected.some(([expectedKind, expectedDigest]) => expectedKind === kind && expectedDigest === digest),
  )
  assert.deepEqual(others, [], 'what is not wrong is found')
  assert.equal(code, findings.some((found) => found.severity === 'error') ? 1 : 0)
}

async function writeConfigOf(t: TestContext, root: string): Promise<string> {
  const file = join(await temporaryFolder(t), 'fsck.yml')
  const url = knownDatabase(root)
  const database = url === undefined ? {} : { database: { url } }
  const s3 = testStorage(root)
  const storage = { filesystem: { rootdirectory: root }, ...(s3 !== undefined && { s3 }) }
  const config = { version: '0.1', storage, ...database }
  await writeFile(file, JSON.stringify(config))
  return file
}
