import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { skipUnlessRequired } from './clients/programs.ts'
import { freePort, until } from './harness.ts'
import { runSql } from './test-database.ts'

const run = promisify(execFile)

const START_TIMEOUT_MS = 30_000
/** Where Debian puts each version; elsewhere the programs are in the path. */
const DEBIAN_FOLDER = '/usr/lib/postgresql'
/** Its language orders text otherwise than by bytes, as that of many real servers does. */
const LOCALE = ['--locale=C.UTF-8', '--locale-provider=icu', '--icu-locale=en-US']

/** How a server is ended: as an operator does it, or without any word to anyone. */
export type Ending = 'SIGINT' | 'SIGQUIT'

/** A PostgreSQL server of its own in a temporary folder. */
export interface PostgresCluster {
  readonly port: number
  /** The URL of a database of it. */
  url(database: string): string
  /** Runs SQL as its superuser, and gives what `psql` prints. */
  run(sql: string, database?: string): Promise<string>
  start(): Promise<void>
  stop(ending: Ending): Promise<void>
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
  const bin = await programs()
  if (bin === undefined) throw new Error('PostgreSQL is not installed')
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-postgres-'))
  const data = join(folder, 'data')
  const port = await freePort()
  const user = serverUser()
  if (user.uid !== undefined && user.gid !== undefined) await chown(folder, user.uid, user.gid)
  await chmod(folder, 0o755)
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync', ...LOCALE]
  await run(join(bin, 'initdb'), initdb, { ...user, cwd: folder })
  const options = Object.entries({ listen_addresses: '127.0.0.1', unix_socket_directories: folder, ...settings })
  const args = ['-D', data, '-p', String(port), ...options.flatMap(([name, value]) => ['-c', `${name}=${value}`])]
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
    remove: async () => {
      await cluster.stop('SIGQUIT')
      await rm(folder, { recursive: true, force: true })
    },
  }
  await cluster.start()
  return cluster
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
