import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { run, SEARCH_PATH, isInstalled, skipUnlessRequired } from './clients/programs.ts'
import { readBlocks, stepsOf } from './guide/guide-text.ts'
import { accepts, freePort, until } from './harness.ts'
import { hasPostgres, type PostgresCluster, serverUser } from './postgres-cluster.ts'

const START_TIMEOUT_MS = 10_000
const HEADING = 'Through PgBouncer'

/** Whether PgBouncer is on this machine. */
export const hasPgBouncer = (): boolean => isInstalled('pgbouncer')

/** Tells, and skips the test otherwise, whether PgBouncer and PostgreSQL can be started here. */
export async function isPgBouncerPresent(t: TestContext): Promise<boolean> {
  if (hasPgBouncer() && (await hasPostgres())) return true
  skipUnlessRequired(t, 'PgBouncer or PostgreSQL is not installed')
  return false
}

/**
 * Makes a database as the guide says, and puts a PgBouncer with the guide's `pgbouncer.ini` in front of it: with another
 * port, in a temporary folder, and with all other databases of the server, all else as it stands there.
 * @param t what it ends with.
 * @returns the URL of the database through PgBouncer.
 */
export async function startPgBouncer(
  t: { after(end: () => Promise<void>): void },
  cluster: PostgresCluster,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-pgbouncer-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  const port = await freePort()
  const here = (text: string) =>
    text
      .replaceAll('/etc/pgbouncer', folder)
      .replaceAll('port=5432', `port=${cluster.port}`)
      .replaceAll('listen_port = 6432', `listen_port = ${port}`)
  const blocks = await readBlocks('postgresql', 'en')
  const commands = ['Make a database', HEADING].flatMap((heading) => stepsOf(blocks, heading))
  for (const step of commands) {
    await run('sh', ['-ec', here(step.commands)], {
      env: { PATH: SEARCH_PATH, PGHOST: '127.0.0.1', PGPORT: String(cluster.port), PGUSER: 'postgres' },
    })
  }
  const settings = blocks.find((block) => block.heading === HEADING && block.language === 'ini')
  assert.ok(settings !== undefined, 'the guide has no pgbouncer.ini')
  const file = join(folder, 'pgbouncer.ini')
  const [line = ''] = /^entrepot = .*\n/m.exec(settings.text) ?? []
  await writeFile(file, here(settings.text.replace(line, line + line.replace('entrepot', '*'))))
  await chmod(folder, 0o755)
  const { uid, gid } = serverUser()
  if (uid !== undefined && gid !== undefined) await chown(join(folder, 'userlist.txt'), uid, gid)
  let output = ''
  const server: ChildProcess = spawn('pgbouncer', [file], {
    ...serverUser(),
    cwd: folder,
    env: { PATH: SEARCH_PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  server.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  t.after(async () => {
    if (server.exitCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGKILL')
    await exited
  })
  await until(
    async () => {
      if (server.exitCode !== null) throw new Error(`PgBouncer ended:\n${output}`)
      return accepts(port)
    },
    START_TIMEOUT_MS,
    () => `PgBouncer does not answer:\n${output}`,
  )
  return `postgres://entrepot:change-me@127.0.0.1:${port}/entrepot`
}
