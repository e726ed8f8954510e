/** Deeper documents are refused: nothing a registry stores is nested so far. */
const MAX_DEPTH = 64

/** Every new key costs a hundred times what its bytes cost elsewhere, and nothing else is served meanwhile. */
const MAX_DIFFERENT_KEYS = 20_000

/** Keys, objects and lists together: 20 for each of the 10,000 children that an index may have. */
const MAX_PARTS = 200_000

/** What is wrong with a document, in words for the person who sent it. */
export class JsonError extends Error {}

/**
 * Reads JSON so that every reader of the same bytes sees the same document: valid UTF-8, no key twice in one object,
 * bounded depth. Parsers differ in which of two equal keys they believe, and an attacker can pick the parser.
 * The number of keys, objects and lists is bounded, too, and with it the time that the bytes can cost.
 * @throws JsonError
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new JsonError('it is not valid UTF-8')
  }
  // First, because JSON.parse itself would spend the time on a document that is too much.
  checkStructure(text)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new JsonError(
      error instanceof SyntaxError ? `it is not valid JSON: ${error.message}` : 'it is not valid JSON',
    )
  }
}

/** Walks over a text that need not be valid JSON: where it sees that it is not, JSON.parse is left to say so. */
function checkStructure(text: string): void {
  /** The keys met in each open object; undefined stands for an open list. */
  const open: (Set<string> | undefined)[] = []
  /** Each key as it is spelled in the text, with what that means. */
  const spellings = new Map<string, string>()
  let parts = 0
  let expectsKey = false
  for (let position = 0; position < text.length; position++) {
    switch (text[position]) {
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) throw new JsonError(`it is nested more than ${MAX_DEPTH} levels deep`)
        if (++parts > MAX_PARTS) throw tooManyParts()
        expectsKey = text[position] === '{'
        open.push(expectsKey ? new Set() : undefined)
        break
      case '}':
      case ']':
        open.pop()
        expectsKey = false
        break
      case ',':
        expectsKey = open.at(-1) !== undefined
        break
      case '"': {
        const end = endOfString(text, position)
        if (end === undefined) return
        if (expectsKey) {
          if (++parts > MAX_PARTS) throw tooManyParts()
          const key = meaningOf(text.slice(position, end + 1), spellings)
          if (key === undefined) return
          addKey(open.at(-1), key)
        }
        expectsKey = false
        position = end
        break
      }
      default:
    }
  }
}

/** The position of the quote that closes the string opened at `start`, if any does. */
function endOfString(text: string, start: number): number | undefined {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end
  }
  return undefined
}

/** The key that a string in quotes spells; undefined when its escapes are wrong. */
function meaningOf(spelling: string, spellings: Map<string, string>): string | undefined {
  const known = spellings.get(spelling)
  if (known !== undefined) return known
  if (spellings.size === MAX_DIFFERENT_KEYS) {
    throw new JsonError(`it has more than ${MAX_DIFFERENT_KEYS} different keys`)
  }
  const key = spelling.includes('\\') ? decoded(spelling) : spelling.slice(1, -1)
  if (key !== undefined) spellings.set(spelling, key)
  return key
}

function decoded(spelling: string): string | undefined {
  try {
    return String(JSON.parse(spelling))
  } catch {
    return undefined
  }
}

function addKey(keys: Set<string> | undefined, key: string): void {
  if (keys?.has(key)) throw new JsonError(`the key ${JSON.stringify(key.slice(0, 100))} stands twice in one object`)
  keys?.add(key)
}

function tooManyParts(): JsonError {
  return new JsonError(`it has more than ${MAX_PARTS} keys, objects and lists`)
}
