import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ledger } from './ledger.ts'

const SETTLE_LIMIT_MS = 10_000

const DATABASE = /^(?:entrepot\.(?:db(?:-wal|-shm)?|lock|sock)|reserve)$/
const BLOB = /^blobs\/(sha256|sha512)\/([0-9a-f]{2})\/(\2[0-9a-f]+)$/
const UPLOAD = /^uploads\/([0-9a-f-]{36})$/

/**
 * Asserts that the data folder holds the database, the blobs that were acknowledged, bytes of uploads that are open, and
 * nothing else, and that nothing was written beside it. What is being cleaned up gets some seconds for that.
 */
export async function assertNoTrace(dataDirectory: string, ledger: Ledger): Promise<void> {
  const deadline = Date.now() + SETTLE_LIMIT_MS
  let surplus = await surplusFiles(dataDirectory, ledger)
  while (surplus.length > 0 && Date.now() < deadline) {
    await sleep(100)
    surplus = await surplusFiles(dataDirectory, ledger)
  }
  assert.deepEqual(surplus, [], 'files that nothing accounts for')
  assert.deepEqual((await readdir(dirname(dataDirectory))).toSorted(), ['config.yml', 'data'])
}

async function surplusFiles(dataDirectory: string, ledger: Ledger): Promise<string[]> {
  const entries = await readdir(dataDirectory, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(dataDirectory, `${entry.parentPath}/${entry.name}`))
    .filter((file) => {
      const blob = BLOB.exec(file)
      if (blob !== null) return !ledger.digests.has(`${blob[1]}:${blob[3]}`)
      const upload = UPLOAD.exec(file)?.[1]
      return upload === undefined ? !DATABASE.test(file) : !ledger.openUploads.has(upload)
    })
}

/** The memory that a process has in use, in bytes (proc_pid_status(5), VmRSS); 0 where the system is not Linux. */
export async function residentBytes(pid: number): Promise<number> {
  if (process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}
