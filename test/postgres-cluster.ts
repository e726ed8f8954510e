import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { skipUnlessRequired } from './clients/programs.ts'
import { readBlocks, stepsOf } from './guide/guide-text.ts'
import { freePort, until } from './harness.ts'
import { runSql } from './test-database.ts'

const run = promisify(execFile)

const START_TIMEOUT_MS = 30_000
/** Where Debian puts each version; elsewhere the programs are in the path. */
const DEBIAN_FOLDER = '/usr/lib/postgresql'
/** Its language orders text otherwise than by bytes, as that of many real servers does. */
const LOCALE = ['--locale=C.UTF-8', '--locale-provider=icu', '--icu-locale=en-US']

/** How a server is ended: as an operator does it, without any word to anyone, or as a crash does it. */
export type Ending = 'SIGINT' | 'SIGQUIT' | 'SIGKILL'

/** A PostgreSQL server of its own in a temporary folder. */
export interface PostgresCluster {
  readonly port: number
  /** The URL of a database of it. */
  url(database: string): string
  /** Runs SQL as its superuser, and gives what `psql` prints. */
  run(sql: string, database?: string): Promise<string>
  start(): Promise<void>
  stop(ending: Ending): Promise<void>
  /** Lets it do nothing more, without an end to any connection, as when its machine is cut off from the network. */
  freeze(): Promise<void>
  /** Lets a frozen one go on. */
  thaw(): Promise<void>
  /** Starts a replica of it, which is named in `synchronous_standby_names`. */
  startReplica(): Promise<PostgresCluster>
  /** Makes a replica the primary. */
  promote(): Promise<void>
  /** Ends it and removes its folder. */
  remove(): Promise<void>
}

/** Whether the programs of PostgreSQL are on this machine. */
export async function hasPostgres(): Promise<boolean> {
  return (await programs()) !== undefined
}

/** Tells, and skips the test otherwise, whether a server can be started here. */
export async function isPostgresPresent(t: TestContext): Promise<boolean> {
  if (await hasPostgres()) return true
  skipUnlessRequired(t, 'PostgreSQL is not installed')
  return false
}

/**
 * Creates and starts a server.
 * @param settings what differs from PostgreSQL's defaults.
 */
export async function startPostgres(settings: Record<string, string> = {}): Promise<PostgresCluster> {
  const initdb = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync', ...LOCALE]
  return startServer(settings, async (bin, data, options) => {
    await run(join(bin, 'initdb'), ['-D', data, ...initdb], options)
  })
}

/** @param create makes the folder with the server's data. */
async function startServer(
  settings: Record<string, string>,
  create: (bin: string, data: string, options: { uid?: number; gid?: number; cwd: string }) => Promise<void>,
): Promise<PostgresCluster> {
  const bin = await programs()
  if (bin === undefined) throw new Error('PostgreSQL is not installed')
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-postgres-'))
  const data = join(folder, 'data')
  const port = await freePort()
  const user = serverUser()
  if (user.uid !== undefined && user.gid !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o755)
  await create(bin, data, { ...user, cwd: folder })
  const options = Object.entries({ listen_addresses: '127.0.0.1', unix_socket_directories: folder, ...settings })
  const args = ['-D', data, '-p', String(port), ...options.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const runShell = async (commands: string) => {
    const env = { ...process.env, PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'postgres' }
    await run('sh', ['-ec', commands], { env })
  }
  let server: ChildProcess | undefined
  let output = ''
  const cluster: PostgresCluster = {
    port,
    url: (database) => `postgres://postgres@127.0.0.1:${port}/${database}`,
    run: async (sql, database = 'postgres') => runSql(cluster.url(database), sql),
    start: async () => {
      const started = spawn(join(bin, 'postgres'), args, { ...user, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
      server = started
      started.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
      await until(
        async () => {
          if (started.exitCode !== null) throw new Error(`PostgreSQL ended:\n${output}`)
          return cluster.run('select 1').then(
            () => true,
            () => false,
          )
        },
        START_TIMEOUT_MS,
        () => `PostgreSQL does not answer:\n${output}`,
      )
    },
    stop: async (ending) => {
      if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
      const exited = once(server, 'exit')
      server.kill(ending)
      await exited
    },
    freeze: async () => signalAll(server?.pid, 'SIGSTOP'),
    thaw: async () => signalAll(server?.pid, 'SIGCONT'),
    startReplica: async () => {
      const [copy, wait] = await guideSteps()
      const replica = await startServer(settings, async (_, target, { cwd, ...owner }) => {
        const here = (copy ?? '').replace('/var/lib/postgresql/replica', target).replace('port=5432', `port=${port}`)
        await run('sh', ['-ec', here], { ...owner, cwd })
      })
      await runShell(wait ?? '')
      await until(
        async () => (await cluster.run('select sync_state from pg_stat_replication')) === 'sync',
        START_TIMEOUT_MS,
        () => `the replica does not follow:\n${output}`,
      )
      return replica
    },
    promote: async () => runShell((await guideSteps())[2] ?? ''),
    remove: async () => {
      await cluster.thaw()
      await cluster.stop('SIGQUIT')
      await rm(folder, { recursive: true, force: true })
    },
  }
  await cluster.start()
  return cluster
}

/** How the guide has a replica made, waited for and promoted. */
async function guideSteps(): Promise<string[]> {
  return stepsOf(await readBlocks('postgresql', 'en'), 'With a replica').map((step) => step.commands)
}

/** Sends a signal to a server and the processes that it has begun, each of which leads a group of its own. */
async function signalAll(pid: number | undefined, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  if (pid === undefined) return
  const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(pid)]).catch(() => ({ stdout: '' }))
  for (const one of [pid, ...stdout.split('\n').map(Number)]) {
    try {
      if (one > 0) process.kill(one, signal)
    } catch {
      // It has ended by itself.
    }
  }
}

/** The folder of the newest version's programs; undefined when there is none. */
async function programs(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN_FOLDER).catch(() => [])
  const newest = versions.toSorted((a, b) => Number(b) - Number(a))[0]
  return newest === undefined ? undefined : join(DEBIAN_FOLDER, newest, 'bin')
}

/** PostgreSQL refuses to run as root. */
export function serverUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  return { uid: idOfPostgres('-u'), gid: idOfPostgres('-g') }
}

const idOfPostgres = (option: '-u' | '-g') => Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8' }))
