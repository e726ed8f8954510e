/** Deeper documents are refused: nothing a registry stores is nested so far. */
const MAX_DEPTH = 64

/** What is wrong with a document, in words for the person who sent it. */
export class JsonError extends Error {}

/**
 * Reads JSON so that every reader of the same bytes sees the same document: valid UTF-8, no key twice in one object,
 * bounded depth. Parsers differ in which of two equal keys they believe, and an attacker can pick the parser.
 * @throws JsonError
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new JsonError('it is not valid UTF-8')
  }
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw new JsonError(
      error instanceof SyntaxError ? `it is not valid JSON: ${error.message}` : 'it is not valid JSON',
    )
  }
  checkStructure(text)
  return document
}

/** Walks over a text that is known to be valid JSON. */
function checkStructure(text: string): void {
  /** The keys met in each open object; undefined stands for an open array. */
  const open: (Set<string> | undefined)[] = []
  let expectsKey = false
  for (let position = 0; position < text.length; position++) {
    switch (text[position]) {
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) throw new JsonError(`it is nested more than ${MAX_DEPTH} levels deep`)
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
        if (expectsKey) addKey(open.at(-1), text.slice(position, end + 1))
        expectsKey = false
        position = end
        break
      }
      default:
    }
  }
}

/** The position of the quote that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text[end - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return end
  }
  throw new JsonError('it is not valid JSON')
}

function addKey(keys: Set<string> | undefined, token: string): void {
  const key = token.includes('\\') ? String(JSON.parse(token)) : token.slice(1, -1)
  if (keys?.has(key)) throw new JsonError(`the key ${JSON.stringify(key.slice(0, 100))} stands twice in one object`)
  keys?.add(key)
}
