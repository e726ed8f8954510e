import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { at, textAt } from '../clients/json.ts'
import { attempt, run } from '../clients/programs.ts'

const CHART = fileURLToPath(new URL('../../deploy/helm/entrepot', import.meta.url))
/** What a cluster says of itself; a Helm that was built from its module assumes one that is too old for the chart. */
const KUBERNETES = ['--kube-version', '1.31.0']

/** Values by their first key; what they leave out is as in the chart. */
export type Values = Readonly<Record<string, unknown>>

/** What Helm would send to a cluster, by kind: the chart has at most one of each. */
export type Manifests = ReadonlyMap<string, unknown>

const optionsFor = (values: Values) =>
  Object.entries(values).flatMap(([key, value]) => ['--set-json', `${key}=${JSON.stringify(value)}`])

/** @throws what `helm lint --strict` has to say of the chart with these values. */
export async function lint(values: Values): Promise<void> {
  await run('helm', ['lint', '--strict', '--quiet', ...KUBERNETES, CHART, ...optionsFor(values)])
}

/** The manifests of the release `registry`. */
export async function render(values: Values): Promise<Manifests> {
  const text = await run('helm', ['template', 'registry', CHART, ...KUBERNETES, ...optionsFor(values)])
  const manifests = new Map<string, unknown>()
  for (const document of parseAllDocuments(text)) {
    if (document.errors[0] !== undefined) throw document.errors[0]
    const manifest: unknown = document.toJS()
    if (manifest === null) continue
    const kind = textAt(manifest, 'kind')
    if (manifests.has(kind)) throw new Error(`two manifests are a ${kind}`)
    manifests.set(kind, manifest)
  }
  return manifests
}

/** What Helm says when it refuses these values; empty when it does not. */
export async function refusalOf(values: Values): Promise<string> {
  const options = ['template', 'registry', CHART, ...KUBERNETES, ...optionsFor(values)]
  const { exitCode, stderr } = await attempt('helm', options)
  return exitCode === 0 ? '' : stderr
}

/** A part of a manifest, which has to be there. */
export function part(manifests: Manifests, kind: string, ...path: readonly (string | number)[]): unknown {
  const found = at(manifests.get(kind), ...path)
  if (found === undefined) throw new Error(`${kind} has no ${path.join('.')}`)
  return found
}
