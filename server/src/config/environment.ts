import type { z } from 'zod'
import { type ConfigDocument, getIn, isRecord, normalizeDocument, parseValue, setIn } from './document.ts'
import { KNOWN_KEYS } from './known-keys.ts'
import { type ConfigProblem, nearest } from './problems.ts'
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
  /** Elements of lists that have no place. */
  readonly problems: readonly ConfigProblem[]
}

/** What a variable sets: a key, or an element of a list, or a key of that element. */
interface Target {
  readonly path: readonly string[]
  /** Where in the list that is at `path`; `path` goes on within the element. */
  readonly element?: { readonly index: number; readonly path: readonly string[] }
  readonly schema: z.ZodType | undefined
}

/**
 * Lays the `REGISTRY_*` variables over the document, as CNCF distribution does: `REGISTRY_HTTP_ADDR` sets `http.addr`,
 * `REGISTRY_HEALTH_TCP_0_ADDR` that of the first element of `health.tcp`; the value is read as YAML. Variables that name
 * no key are only warned of, since other programs set some, too.
 */
export function applyEnvironment(document: ConfigDocument, environment: Environment): EnvironmentOverrides {
  const sources = new Map<string, string>()
  const warnings: string[] = []
  const problems: ConfigProblem[] = []
  const found: { name: string; value: string; target: Target }[] = []
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX) || value === undefined || FOREIGN.test(name)) continue
    const target = findTarget(name)
    if (target !== undefined) {
      found.push({ name, value, target })
      continue
    }
    const known = nearest(
      name,
      targetsFor(name).map((target) => variableOf(placeOf(target))),
    )
    warnings.push(
      `the environment variable ${name} names no key${known === undefined ? '' : `; did you mean ${known}?`}`,
    )
  }
  for (const { name, value, target } of found.toSorted(inOrder)) {
    const key = placeOf(target).join('.')
    const length = setTarget(document, target, parseFor(target, value))
    // At once, since a variable for a key within would take the place of a name that stands for a section.
    normalizeDocument(document)
    if (length === undefined) sources.set(key, name)
    else problems.push({ path: key, variable: name, message: outOfPlace(length) })
  }
  return { sources, warnings, problems }
}

function outOfPlace(length: number): string {
  return `the next element of this list has the number ${length}; number them from 0 without gaps`
}

/**
 * Whole keys before elements of lists, and those by their number. Else shorter names first, so that a variable for a
 * section does not wipe out one for a key in it.
 */
function inOrder(one: { name: string; target: Target }, other: { name: string; target: Target }): number {
  const byNumber = (one.target.element?.index ?? -1) - (other.target.element?.index ?? -1)
  return byNumber || one.name.length - other.name.length || (one.name < other.name ? -1 : 1)
}

/** @returns the length of the list, where that is too short for the element. */
function setTarget(document: ConfigDocument, { path, element }: Target, value: unknown): number | undefined {
  if (element === undefined) {
    setIn(document, path, merge(getIn(document, path), value))
    return undefined
  }
  const list: unknown = getIn(document, path) ?? []
  // What is no list is reported by the schema.
  if (!Array.isArray(list)) return undefined
  if (element.index > list.length) return list.length
  const before: unknown = list[element.index]
  const entry: ConfigDocument = isRecord(before) ? { ...before } : {}
  setIn(entry, element.path, merge(getIn(entry, element.path), value))
  const after = element.path.length === 0 ? merge(before, value) : entry
  setIn(document, path, list.toSpliced(element.index, 1, after))
  return undefined
}

function merge(before: unknown, value: unknown): unknown {
  return isRecord(before) && isRecord(value) ? { ...before, ...value } : value
}

const KNOWN_SECTIONS = KNOWN_KEYS.filter((known) => known.value === undefined)

const TARGETS: readonly Target[] = [
  ...SCHEMA_NODES.filter((node) => node.kind !== 'entry'),
  ...KNOWN_SECTIONS.map(({ path }) => ({ path, schema: undefined })),
].map(({ path, schema }) => ({ path, schema }))

/** Elements of lists, and their keys, for a number. */
function elementTargets(index: number): Target[] {
  return SCHEMA_NODES.flatMap<Target>(({ path, schema, element, list }) => {
    if (element !== undefined) return [{ path, element: { index, path: [] }, schema: element }]
    return list === undefined ? [] : [{ path: list, element: { index, path: path.slice(list.length) }, schema }]
  })
}

function placeOf({ path, element }: Target): readonly string[] {
  return element === undefined ? path : [...path, String(element.index), ...element.path]
}

/** The numbers that may be meant as that of an element. */
function numbersIn(name: string): number[] {
  return [...name.matchAll(/(?<=_)(?:0|[1-9]\d*)(?=_|$)/g)].map(([digits]) => Number(digits))
}

/** What a variable can set; of lists, the elements with the numbers that stand in its name. */
function targetsFor(name: string): Target[] {
  return [...TARGETS, ...numbersIn(name).flatMap(elementTargets)]
}

function findTarget(name: string): Target | undefined {
  const exact = targetsFor(name).find((target) => variableOf(placeOf(target)) === name)
  if (exact !== undefined) return exact
  const maps = [...SCHEMA_NODES.filter(({ kind }) => kind === 'map'), ...KNOWN_SECTIONS]
  for (const { path } of maps) {
    const beginning = `${variableOf(path)}_`
    if (name.startsWith(beginning)) {
      return { path: [...path, name.slice(beginning.length).toLowerCase()], schema: undefined }
    }
  }
  return undefined
}

/** Text stays text where a key takes text: a folder called `1` is no number, and a pattern such as `^http:` no map. */
function parseFor({ schema }: Target, value: string): unknown {
  const parsed = parseValue(value)
  if (parsed === null || schema === undefined) return parsed
  return schema.safeParse(value).success ? value : parsed
}
