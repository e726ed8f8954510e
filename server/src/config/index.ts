/**
 * The configuration: CNCF distribution's `config.yml` and `REGISTRY_*` variables, and Entrepot's own keys beside them.
 * Only this folder reads the environment.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { stringify } from 'yaml'
import type { z } from 'zod'
import { type Action, ACTIONS } from '#core/access'
import {
  type ConfigDocument,
  type ConfigSource,
  getIn,
  normalizeDocument,
  parseConfigText,
  removeIn,
} from './document.ts'
import { applyEnvironment, type Environment, variableOf } from './environment.ts'
import { KNOWN_KEYS } from './known-keys.ts'
import { ConfigError, type ConfigProblem, nearest } from './problems.ts'
import { configSchema, type ParsedConfig } from './schema.ts'
import { keysOf, SCHEMA_NODES, startsWith } from './schema-tree.ts'
import { address, formatAddress } from './values.ts'

export { type AwsEnvironment, readAwsEnvironment } from './aws-environment.ts'
export { type Address, formatAddress } from './values.ts'
export { readDistributionStorage } from './distribution-storage.ts'
export { parsePostgresUrl } from './postgres-url.ts'
export { ConfigError, type ConfigProblem, formatProblem } from './problems.ts'

/** The configuration in force: every default filled in, lengths of time in milliseconds. */
export type Config = ParsedConfig & { readonly auth: { readonly anonymous: readonly Action[] } }

/** Something to say about the configuration that does not stop the start. */
export interface ConfigWarning {
  readonly message: string
}

/** What holds without a file: a laptop, reachable from itself only. */
const WITHOUT_FILE =
  'version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ./data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:5000\n'

/**
 * Reads the configuration.
 * @param options.file a path; without one, `REGISTRY_CONFIGURATION_PATH`, or what suits a laptop.
 * @param options.env the variables; those of the process unless given.
 * @throws ConfigError with everything that is wrong.
 */
export function loadConfig(options: { file?: string | undefined; env?: Environment }): {
  config: Config
  warnings: readonly ConfigWarning[]
} {
  const environment = options.env ?? process.env
  const file = options.file ?? environment['REGISTRY_CONFIGURATION_PATH']
  const source = readSource(file)
  const { document } = source
  normalizeDocument(document)
  const { sources, warnings, problems: misplaced } = applyEnvironment(document, environment)
  const known = applyKnownKeys(document)
  removeEmptySections(document)
  const parsed = configSchema.safeParse(document, { reportInput: true })
  const problems = [
    ...misplaced,
    ...known.problems,
    ...(parsed.success ? [] : parsed.error.issues.flatMap(toProblems)),
    ...checkExposure(document),
  ]
  if (!parsed.success || problems.length > 0)
    throw new ConfigError(
      problems
        .map((problem) => locate(problem, source, sources))
        .toSorted((one, other) => (one.line ?? 0) - (other.line ?? 0)),
      file,
    )
  const config = { ...parsed.data, auth: { anonymous: parsed.data.auth.anonymous ?? [...ACTIONS] } }
  return { config, warnings: [...warnings, ...known.warnings].map((message) => ({ message })) }
}

/** The configuration in force as YAML that can be loaded again. */
export function printConfig(config: Config): string {
  return stringify(configToDocument(config))
}

/** The same as an object, lengths of time written as in a file. */
export function configToDocument(config: Config): unknown {
  return configSchema.encode({ ...config, version: 0.1, auth: { anonymous: [...config.auth.anonymous] } })
}

/** The file, or what holds without one, of which no line is ever named. */
function readSource(file: string | undefined): ConfigSource {
  if (file !== undefined) return parseConfigText(readText(file), file)
  return { ...parseConfigText(WITHOUT_FILE, 'the built-in configuration'), lineOf: () => undefined }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    const reason =
      code === 'ENOENT'
        ? 'there is no such file'
        : code === 'EISDIR'
          ? 'it is a folder'
          : code === 'EACCES'
            ? 'this user may not read it'
            : String(error)
    throw new ConfigError([{ path: '', message: `${reason}; name a config.yml that can be read` }], file)
  }
}

/** A section whose keys are all commented out is left empty, and means its defaults. */
function removeEmptySections(document: ConfigDocument): void {
  for (const { path, kind } of SCHEMA_NODES) {
    if ((kind === 'section' || kind === 'map') && getIn(document, path) === null) removeIn(document, path)
  }
}

/** Takes the keys out that this version does not act on, and says so. */
function applyKnownKeys(document: ConfigDocument): { problems: ConfigProblem[]; warnings: string[] } {
  const problems: ConfigProblem[] = []
  const warnings: string[] = []
  for (const { path, rule, reason, when, value: only } of KNOWN_KEYS) {
    const value = getIn(document, path)
    if (value === undefined || when?.(value) === false || (only !== undefined && value !== only)) continue
    removeIn(document, path)
    if (rule === 'refused') problems.push({ path: path.join('.'), message: reason })
    else warnings.push(`${path.join('.')} is accepted, but not needed: ${reason}`)
  }
  return { problems, warnings }
}

function toProblems(issue: z.core.$ZodIssue): ConfigProblem[] {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...path, key].join('.'),
      message: 'there is no such key',
      suggestion: nearest(key, candidateKeys(path)),
    }))
  }
  const problem = issue.input === undefined ? 'it is missing; expected' : 'expected'
  return [{ path: path.join('.'), message: `${problem} ${expectation(issue)}` }]
}

/** The keys of a section, its lists' entries included, and those of CNCF distribution that go there. */
function candidateKeys(path: readonly string[]): string[] {
  const section = path.filter((key) => !/^\d+$/.test(key))
  const known = KNOWN_KEYS.filter((key) => key.path.length === section.length + 1 && startsWith(key.path, section))
  return [...keysOf(section), ...known.map((key) => key.path.at(-1) ?? '')]
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_type') return issue.message
  if (issue.expected === 'object' || issue.expected === 'record') return 'a section of keys'
  return issue.message.startsWith('Invalid input') && issue.expected === 'array' ? 'a list' : issue.message
}

/** Says where a problem is: in a variable, or on a line of the file. */
function locate(problem: ConfigProblem, source: ConfigSource, sources: ReadonlyMap<string, string>): ConfigProblem {
  if (problem.variable !== undefined) return problem
  const path = problem.path.split('.')
  for (let length = path.length; length > 0; length--) {
    const variable = sources.get(path.slice(0, length).join('.'))
    if (variable !== undefined) return { ...problem, variable }
  }
  return { ...problem, line: source.lineOf(path) }
}

/**
 * Whoever can reach the address is let in by default, so that anything but loopback must be meant. Looks at the document,
 * so that it is said together with all else that is wrong; an address that cannot be read is reported by the schema.
 */
function checkExposure(document: ConfigDocument): ConfigProblem[] {
  const parsed = address.safeParse(getIn(document, ['http', 'addr']))
  if (!parsed.success || getIn(document, ['auth', 'anonymous']) !== undefined) return []
  const { host } = parsed.data
  if (host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))) return []
  return [
    {
      path: 'http.addr',
      message:
        `"${formatAddress(parsed.data)}" can be reached from other machines, and there are no accounts yet: whoever ` +
        'reaches it could read, change and delete everything. Listen on 127.0.0.1, or say what anyone may do, for example\n' +
        '    auth:\n      anonymous: [pull]\n' +
        `  (all of it: [${ACTIONS.join(', ')}]; or ${variableOf(['auth', 'anonymous'])}="[pull]")`,
    },
  ]
}
