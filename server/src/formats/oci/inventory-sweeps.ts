import type { Logger } from '#platform/log'
import type { InventoryKeeper } from './inventory-keeping.ts'

const INTERVAL_MS = 24 * 60 * 60_000
/** How often it is asked whether entries could not be written. */
const LOOK_MS = 60_000

/**
 * Sweeps the inventory now, once a day, and soon after the store has let an entry down.
 * @returns ends it, once the step under way is over.
 */
export function startInventorySweeps(keeper: InventoryKeeper, log: Logger): () => Promise<void> {
  let isEnding = false
  let looks = 0
  let running: Promise<void> | undefined
  const sweep = async () => {
    try {
      await keeper.sweep(() => isEnding)
    } catch (error) {
      log.error({ err: error }, 'the inventory in the store could not be brought up to date')
    }
    running = undefined
  }
  const look = () => {
    const isDue = looks++ % (INTERVAL_MS / LOOK_MS) === 0
    if (isDue || keeper.isBehind) running ??= sweep()
  }
  look()
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  return async () => {
    isEnding = true
    clearInterval(timer)
    await running
  }
}
