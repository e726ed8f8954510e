/** Walks into parsed JSON by keys and positions; gives undefined where the path ends early. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let here = value
  for (const step of path) {
    if (typeof here !== 'object' || here === null) return undefined
    here = Object.entries(here).find(([key]) => key === String(step))?.[1]
  }
  return here
}

/** The text at a path. @throws when something else, or nothing, is there. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path)
  if (typeof found === 'string') return found
  throw new Error(`expected a text at ${path.join('.')} of ${JSON.stringify(value)}`)
}

/** The whole number at a path. @throws when something else, or nothing, is there. */
export function numberAt(value: unknown, ...path: readonly (string | number)[]): number {
  const found = at(value, ...path)
  if (typeof found === 'number') return found
  throw new Error(`expected a number at ${path.join('.')} of ${JSON.stringify(value)}`)
}

/** The list at a path. @throws when something else, or nothing, is there. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): unknown[] {
  const found = at(value, ...path)
  if (Array.isArray(found)) return found
  throw new Error(`expected a list at ${path.join('.')} of ${JSON.stringify(value)}`)
}

export function parseJson(bytes: string | Buffer): unknown {
  return JSON.parse(bytes.toString())
}
