import { flushCompileCache } from 'node:module'
import { createLogger } from '#platform/log'
import { createRegistry } from './app.ts'
import type { Config } from './config/index.ts'

export interface ServeOptions {
  readonly config: Config
  /** What is to be said about the configuration before anything else. */
  readonly warnings: readonly { readonly message: string }[]
  readonly version: string
}

/**
 * Runs the registry until SIGTERM or SIGINT, then ends it in peace.
 * @throws when it cannot start: the address is taken, the folder cannot be written, the database is of a newer version.
 */
export async function serve(options: ServeOptions): Promise<void> {
  const { config, version, warnings } = options
  // Nobody else on the machine may read what is stored, the database included.
  process.umask(0o077)
  const log = await createLogger({
    level: config.log.level,
    formatter: config.log.formatter === 'text' ? 'text' : 'json',
    fields: config.log.fields,
  })
  const ending = endingSignal()
  for (const warning of warnings) log.warn({ module: 'config' }, warning.message)
  const registry = await createRegistry(config, version, log)
  const address = await registry.listen()
  log.info({ version, data: config.storage.filesystem.rootdirectory }, `Entrepot answers on ${address}`)
  // Otherwise it is written at the end only, and not at all when the process is killed.
  flushCompileCache()
  const signal = await ending
  log.info({ signal }, 'shutting down: requests under way may end')
  await registry.close()
  log.info('stopped')
}

/**
 * The first signal that asks the process to end. At Ctrl+C under npm one comes from the terminal and one from npm: the
 * second must not cut requests off, which "http.draintimeout" does in its time, so that the listeners stay.
 */
async function endingSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal))
  return promise
}
