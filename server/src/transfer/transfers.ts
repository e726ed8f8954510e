import { importDistribution, type ImportDependencies, type ImportOptions } from './distribution-import.ts'
import type { Listener } from './import-report.ts'

/** What is on its way in or out, so that it can be ended before what it works with. */
export class Transfers {
  readonly #dependencies: ImportDependencies
  readonly #running = new Set<Promise<void>>()
  readonly #ending = new AbortController()

  constructor(dependencies: ImportDependencies) {
    this.#dependencies = dependencies
  }

  /** @param signal ends it after its step. @throws as `importDistribution` does */
  async importDistribution(options: ImportOptions, tell: Listener, signal: AbortSignal): Promise<void> {
    const both = AbortSignal.any([signal, this.#ending.signal])
    await this.#run(async () => importDistribution(this.#dependencies, { ...options, signal: both }, tell))
  }

  /** Ends everything after its step; resolves when that has happened. */
  async end(): Promise<void> {
    this.#ending.abort(new Error('the server is shutting down; what was done stays done'))
    await Promise.allSettled(this.#running)
  }

  async #run(work: () => Promise<void>): Promise<void> {
    const running = work()
    this.#running.add(running)
    try {
      await running
    } finally {
      this.#running.delete(running)
    }
  }
}
