import { type ConfigDocument, getIn, isRecord, normalizeDocument, parseValue, setIn } from './document.ts'
import { KNOWN_KEYS } from './known-keys.ts'
import { nearest } from './problems.ts'
import { SCHEMA_NODES } from './schema-tree.ts'

/** The variables of a process. */
export type Environment = Readonly<Record<string, string | undefined>>

const PREFIX = 'REGISTRY_'

/** Set by others for purposes of their own: container tools, and Kubernetes for a service called "registry". */
const FOREIGN =
  /^REGISTRY_(?:AUTH_FILE|CONFIGURATION_PATH|SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)$/

/** The variable for a key: the path in capitals, joined by underscores. */
export const variableOf = (path: readonly string[]): string => PREFIX + path.join('_').toUpperCase()

/** What the environment has changed. */
export interface EnvironmentOverrides {
  /** Which variable set which key; the key's path joined by dots. */
  readonly sources: ReadonlyMap<string, string>
  readonly warnings: readonly string[]
}

/**
 * Lays the `REGISTRY_*` variables over the document, as CNCF distribution does: `REGISTRY_HTTP_ADDR` sets `http.addr`,
 * its value read as YAML. Variables that name no key are only warned of, since other programs set some, too.
 */
export function applyEnvironment(document: ConfigDocument, environment: Environment): EnvironmentOverrides {
  const sources = new Map<string, string>()
  const warnings: string[] = []
  // Shorter names first, so that a variable for a section does not wipe out one for a key in it.
  for (const name of Object.keys(environment).toSorted((a, b) => a.length - b.length || (a < b ? -1 : 1))) {
    const value = environment[name]
    if (!name.startsWith(PREFIX) || value === undefined || FOREIGN.test(name)) continue
    const path = findPath(name)
    if (path === undefined) {
      const known = nearest(name, KNOWN_PATHS.map(variableOf))
      warnings.push(
        `the environment variable ${name} names no key${known === undefined ? '' : `; did you mean ${known}?`}`,
      )
      continue
    }
    const parsed = parseFor(path, value)
    const before = getIn(document, path)
    setIn(document, path, isRecord(before) && isRecord(parsed) ? { ...before, ...parsed } : parsed)
    // At once, since a variable for a key within would take the place of a name that stands for a section.
    normalizeDocument(document)
    sources.set(path.join('.'), name)
  }
  return { sources, warnings }
}

const KNOWN_PATHS = [
  ...SCHEMA_NODES.filter((node) => node.kind !== 'entry').map((node) => node.path),
  ...KNOWN_KEYS.map((known) => known.path),
]

function findPath(name: string): readonly string[] | undefined {
  const exact = KNOWN_PATHS.find((path) => variableOf(path) === name)
  if (exact !== undefined) return exact
  for (const { path, kind } of SCHEMA_NODES) {
    const beginning = `${variableOf(path)}_`
    if (kind === 'map' && name.startsWith(beginning)) return [...path, name.slice(beginning.length).toLowerCase()]
  }
  const section = KNOWN_KEYS.find(({ path }) => name.startsWith(`${variableOf(path)}_`))
  return section === undefined
    ? undefined
    : [...section.path, name.slice(variableOf(section.path).length + 1).toLowerCase()]
}

/** Text stays text where a key takes text: a folder called `1` is no number. */
function parseFor(path: readonly string[], value: string): unknown {
  const parsed = parseValue(value)
  const node = SCHEMA_NODES.find((candidate) => candidate.path.join('.') === path.join('.'))
  if (typeof parsed === 'object' || node === undefined) return parsed
  return node.schema.safeParse(value).success ? value : parsed
}
