import type { TestRegistry } from '../harness.ts'
import { RegistryClient } from '../registry-client.ts'

/** A registry that many use at once, and that each of them may restart: the others' requests end before that. */
export class SharedRegistry {
  readonly #registry: TestRegistry
  #client: RegistryClient
  #requests = 0
  #restarting: Promise<void> | undefined
  #isIdle: (() => void) | undefined

  constructor(registry: TestRegistry) {
    this.#registry = registry
    this.#client = new RegistryClient(registry.url)
  }

  /** Runs requests while the registry runs. */
  async use<Result>(work: (client: RegistryClient) => Promise<Result>): Promise<Result> {
    while (this.#restarting !== undefined) await this.#restarting
    this.#requests += 1
    try {
      return await work(this.#client)
    } finally {
      this.#requests -= 1
      if (this.#requests === 0) this.#isIdle?.()
    }
  }

  /** Ends the registry, with or without a chance to tidy up, and starts it again. */
  async restart(ending: 'stop' | 'kill'): Promise<void> {
    while (this.#restarting !== undefined) await this.#restarting
    const restarting = Promise.withResolvers<void>()
    this.#restarting = restarting.promise
    try {
      if (this.#requests > 0) await new Promise<void>((resolve) => (this.#isIdle = resolve))
      this.#isIdle = undefined
      await this.#registry[ending]()
      await this.#registry.start()
      // The connections of the one before are gone.
      this.#client = new RegistryClient(this.#registry.url)
    } finally {
      this.#restarting = undefined
      restarting.resolve()
    }
  }
}
