/**
 * Does work on items, several at once; an item is asked for when there is somebody to work on it.
 * @param width how many at once.
 * @throws what the work throws first, when what was begun has ended.
 */
export async function inLanes<Item>(
  items: AsyncIterable<Item>,
  width: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.asyncIterator]()
  const state = { isOver: false }
  const lane = async () => {
    try {
      while (!state.isOver) {
        const { done, value } = await iterator.next()
        if (done === true) return
        await work(value)
      }
    } catch (error) {
      state.isOver = true
      throw error
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: width }, lane))
  await iterator.return?.()
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

/** The items in groups of up to `size`. */
export async function* inGroups<Item>(items: AsyncIterable<Item>, size: number): AsyncGenerator<Item[]> {
  let group: Item[] = []
  for await (const item of items) {
    group.push(item)
    if (group.length < size) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
