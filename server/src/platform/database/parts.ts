/** A statement takes only so many parameters. */
const MAX_PARAMETERS = 500

/** A list in parts, each of which fits into one statement; none for an empty list. */
export function* partsOf<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let start = 0; start < items.length; start += MAX_PARAMETERS) yield items.slice(start, start + MAX_PARAMETERS)
}
