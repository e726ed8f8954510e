import { type ComparisonRow, deficitsOf } from './comparison.ts'
import { failuresOf, figureText, ratioText, type RunRecord, spreadText, TABLES } from './run-record.ts'
import type { ServerKind } from '../servers/kinds.ts'

/** The whole report, as bench/RESULTS.md holds it. */
export function renderMarkdown(run: RunRecord): string {
  return [
    run.options.scaleOut
      ? '# Entrepot on PostgreSQL and S3 beside Entrepot in a folder, measured in one run'
      : '# Entrepot beside its peers, measured in one run',
    `Written by \`npm run bench${run.options.scaleOut ? ' -- --scale-out' : ''}\`. The figures say how the servers stood to each other on this machine at this hour, ` +
      'and nothing about another machine.',
    describeRun(run),
    describeMethod(run),
    '## Ratios\n\nAbove 1 the first server is faster, or needs less; below 1 the peer does. In small print: our own figure, and ' +
      'the lowest and highest ratio of the rounds.',
    ...TABLES.map(({ title, units }) =>
      ratioTable(
        title,
        run.rows.filter((row) => units.includes(row.unit)),
        run.kinds,
      ),
    ),
    describeRemarks(run),
    describeDeficits(run),
    describeFailures(run),
    medianTable(run),
  ]
    .filter((section) => section !== '')
    .join('\n\n')
    .concat('\n')
}

function describeRun({ startedAt, minutes, machine, kinds, missing }: RunRecord): string {
  return [
    '## What was measured, where\n',
    ...kinds.map(({ title, version }) => `- ${title}: ${version}`),
    ...missing.map(({ title, reason }) => `- ${title}: **not measured**, ${reason}`),
    `- Node.js ${process.version} for Entrepot and for the load`,
    ...machine.map((line) => `- ${line}`),
    `- ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC, ${minutes.toFixed(0)} minutes`,
  ].join('\n')
}

/** Processes of one program differ by more than the two ways to store do. */
const FRESH_MANIFESTS = `
  Those of manifests have a fresh process each, too, which does the same for three seconds before it is measured; the others do not run meanwhile.`

function describeMethod({ options, loadGenerator }: RunRecord): string {
  return `## Method

- All servers run at the same time on this machine, on empty folders of the same disk, ${describeSetup(options)}
- Each case goes round the servers, A B C ... A B C ...: one warm-up round, then the counted rounds, ${options.rounds} unless
  the table says otherwise. A ratio is the median of the ratios of each round; treat a difference under a quarter as
  not shown. Measurements of memory, and of 64 clients at once, have a fresh process each, and so no warm-up.${options.scaleOut ? FRESH_MANIFESTS : ''}
- Client, server and kernel share the processors, over loopback, without TLS unless a row says so, with warm page cache.
- Manifests and blobs of 64 KiB: GET for one second by ${loadGenerator}; everything else, and HEAD,
  by the bench's own client: bare sockets in one Node.js process. It reads into one buffer of 256 KiB and drops the bytes.
- Every answer's status and length are checked, and its digest where it is named; all bytes are hashed for manifests in
  each round and for blobs in the warm-up round; names in lists are compared one by one once in each round. A wrong
  answer makes the whole cell "failed".
- Each server waits for the disk as it does by default. Pushed blobs are new to the server each time. After each push they are removed from the disk and the disk is synced,
  outside of what is measured.
- Tags and repositories come into Entrepot by its API; for the distribution servers their folders are laid out on disk.
- Manifests and lists are asked for again and again. Entrepot remembers them until something is committed, as the peers
  remember descriptors. Where a row of lists says "each after a push", a tag was pushed before each request, outside of what is
  measured: that is the first answer, which comes from the database.
- Processor time is that of the server's process tree from /proc, in steps of 10 ms. Memory at rest is the resident size
  (VmRSS), peaks are its high-water mark (VmHWM).`
}

function describeSetup({ scaleOut }: RunRecord['options']): string {
  if (scaleOut) {
    return `with the same settings
  (no access log, log level error, deleting enabled, no redirects). PostgreSQL and MinIO run on it, too, with their default
  settings, but that PostgreSQL looks each second instead of each minute how its tables have grown, and their processor time and memory are not counted. To MinIO alone a blob is sent in four parts at a time by
  the S3 client that Entrepot uses; Entrepot also hashes it.`
  }
  return `with the same configuration file
  (filesystem storage, in-memory descriptor cache for those that have one, no access log, log level error, deleting
  enabled); nginx serves the same bytes as plain files with sendfile and shows the limit.`
}

function ratioTable(title: string, rows: readonly ComparisonRow[], kinds: readonly ServerKind[]): string {
  if (rows.length === 0) return ''
  const [first, ...peers] = kinds
  return `### ${title}\n\n${markdownTable(
    ['Work', first?.title ?? '', ...peers.map((peer) => `to ${peer.title}`)],
    rows.map((row) => [
      row.remark === undefined ? row.label : `${row.label} *`,
      figureCell(row, 'entrepot'),
      ...peers.map(({ name }) => {
        const found = row.advantages.get(name)
        if (found === undefined) return row.failed.has(name) ? 'failed' : '–'
        return `${ratioText(found.median)} <sub>${spreadText(found)}</sub>`
      }),
    ]),
  )}`
}

function describeRemarks({ rows }: RunRecord): string {
  const remarks = new Set(rows.map(({ remark }) => remark).filter((remark) => remark !== undefined))
  return [...remarks].map((remark) => `\\* ${remark}.`).join('\n')
}

function describeDeficits({ rows, kinds }: RunRecord): string {
  const title = '## Where we are slower, or need more\n\n'
  const deficits = deficitsOf(rows)
  if (deficits.length === 0) return `${title}In this run, nowhere.`
  const titles = new Map(kinds.map((kind) => [kind.name, kind.title]))
  return `${title}Every ratio below 1, the worst first.\n\n${markdownTable(
    ['Work', 'Counted in', 'Peer', 'Ratio', 'Lowest–highest', ''],
    deficits.map(({ row, peer, advantage, isWithinNoise }) => [
      row.label,
      row.unit,
      titles.get(peer) ?? peer,
      ratioText(advantage.median),
      spreadText(advantage),
      isWithinNoise ? 'within the noise' : '',
    ]),
  )}`
}

function describeFailures(run: RunRecord): string {
  const failures = failuresOf(run)
  return failures.length === 0 ? '' : `## Failed\n\n${failures.map((failure) => `- ${failure}`).join('\n')}`
}

function medianTable({ rows, kinds }: RunRecord): string {
  return `<details><summary>The medians of all servers</summary>\n\n${markdownTable(
    ['Work', ...kinds.map(({ title }) => title)],
    rows.map((row) => [row.label, ...kinds.map(({ name }) => figureCell(row, name))]),
  )}\n\n</details>`
}

function figureCell(row: ComparisonRow, kind: ServerKind['name']): string {
  const value = row.medians.get(kind)
  if (value === undefined) return row.failed.has(kind) ? 'failed' : '–'
  return `<sub>${figureText(value, row.unit)}</sub>`
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const alignment = head.map((_, column) => (column === 0 ? '---' : '---:'))
  return [head, alignment, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
