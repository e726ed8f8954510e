import type { Logger } from '#platform/log'
import type { InventoryKeeper } from './inventory-keeping.ts'

const INTERVAL_MS = 24 * 60 * 60_000

/**
 * Sweeps the inventory now and once a day.
 * @returns ends it, once the step under way is over.
 */
export function startInventorySweeps(keeper: InventoryKeeper, log: Logger): () => Promise<void> {
  let isEnding = false
  let running: Promise<void> = Promise.resolve()
  const sweep = async () => {
    try {
      await keeper.sweep(() => isEnding)
    } catch (error) {
      log.error({ err: error }, 'the inventory in the store could not be brought up to date')
    }
  }
  const run = () => {
    running = running.then(sweep)
  }
  run()
  const timer = setInterval(run, INTERVAL_MS)
  timer.unref()
  return async () => {
    isEnding = true
    clearInterval(timer)
    await running
  }
}
