import { LineCounter, type Document, isMap, isNode, isScalar, parseDocument } from 'yaml'
import { ConfigError } from './problems.ts'

export type ConfigDocument = Record<string, unknown>

/** A configuration file as it was written. */
export interface ConfigSource {
  readonly document: ConfigDocument
  /** The line, from 1, on which a key stands. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

/**
 * Reads YAML.
 * @throws ConfigError when it is no YAML, has a key twice, or is no map.
 */
export function parseConfigText(text: string, file: string): ConfigSource {
  const lines = new LineCounter()
  const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  if (yaml.errors.length > 0) {
    const problems = yaml.errors.map((error) => ({
      path: '',
      line: lines.linePos(error.pos[0]).line,
      message: `it is not valid YAML: ${error.message}`,
    }))
    throw new ConfigError(problems, file)
  }
  const document: unknown = yaml.toJS({ maxAliasCount: 100 })
  if (!isRecord(document)) {
    throw new ConfigError([{ path: '', message: 'it must be a map of keys, beginning with "version: 0.1"' }], file)
  }
  return { document, lineOf: (path) => findLine(yaml, lines, path) }
}

/** Reads a value as it stands in an environment variable: YAML, as CNCF distribution does. */
export function parseValue(text: string): unknown {
  const yaml = parseDocument(text)
  return yaml.errors.length > 0 ? text : yaml.toJS()
}

/** Whether a value is a map of keys. */
export function isRecord(value: unknown): value is ConfigDocument {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value at a path; undefined where there is none. */
export function getIn(document: ConfigDocument, path: readonly string[]): unknown {
  let value: unknown = document
  for (const key of path) value = isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined
  return value
}

/** Sets a value, making maps on the way where there are none. */
export function setIn(document: ConfigDocument, path: readonly string[], value: unknown): void {
  let section = document
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(section, key) ? section[key] : undefined
    const inner = isRecord(next) ? next : {}
    section[key] = inner
    section = inner
  }
  const last = path.at(-1)
  if (last !== undefined) section[last] = value
}

/** Takes the key at a path out, if it is there. */
export function removeIn(document: ConfigDocument, path: readonly string[]): void {
  const section = getIn(document, path.slice(0, -1))
  const last = path.at(-1)
  if (isRecord(section) && last !== undefined) delete section[last]
}

/**
 * Rewrites what distribution lets one write in several ways into the one that the schema knows: `storage: filesystem`
 * says the same as `storage: {filesystem: {}}`, and some words may be in capitals.
 */
export function normalizeDocument(document: ConfigDocument): void {
  for (const path of [['storage'], ['auth']]) {
    const driver = getIn(document, path)
    if (typeof driver === 'string') setIn(document, path, { [driver]: {} })
  }
  for (const path of [
    ['log', 'level'],
    ['validation', 'manifests', 'indexes', 'platforms'],
  ]) {
    const word = getIn(document, path)
    if (typeof word === 'string') setIn(document, path, word.toLowerCase())
  }
}

function findLine(yaml: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  const last = path.at(-1)
  const parent = yaml.getIn(path.slice(0, -1), true)
  if (isMap(parent) && last !== undefined) {
    const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(last))
    if (pair !== undefined && isScalar(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line
  }
  const node = path.length === 0 ? undefined : yaml.getIn(path, true)
  if (isNode(node) && node.range) return lines.linePos(node.range[0]).line
  return path.length === 0 ? undefined : findLine(yaml, lines, path.slice(0, -1))
}
