import type { ComparisonRow } from './comparison.ts'
import { failuresOf, figureText, ratioText, type RunRecord, TABLES } from './run-record.ts'
import type { ServerKind } from '../servers/kinds.ts'

/** The ratios as aligned columns, for a terminal. */
export function renderForTerminal(run: RunRecord): string {
  const peers = run.kinds.filter(({ name }) => name !== 'entrepot')
  const blocks = TABLES.flatMap(({ title, units }) => {
    const rows = run.rows.filter((row) => units.includes(row.unit))
    if (rows.length === 0) return []
    const head = [title, run.kinds[0]?.title ?? '', ...peers.map((peer) => `x ${peer.title}`)]
    return [alignColumns([head, ...rows.map((row) => cellsOf(row, peers))])]
  })
  const missing = run.missing.map(({ title, reason }) => `No column for ${title}: ${reason}`)
  const failures = failuresOf(run).map((failure) => `FAILED: ${failure}`)
  return [
    ...blocks,
    'Above 1 the first is faster, or needs less. Medians of per-round ratios; under a quarter is noise.',
    ...missing,
    ...failures,
  ].join('\n\n')
}

function cellsOf(row: ComparisonRow, peers: readonly ServerKind[]): string[] {
  const own = row.medians.get('entrepot')
  return [
    row.label,
    own === undefined ? 'failed' : figureText(own, row.unit),
    ...peers.map(({ name }) => {
      const found = row.advantages.get(name)
      if (found !== undefined) return ratioText(found.median)
      return row.failed.has(name) ? 'failed' : '-'
    }),
  ]
}

/** Pads each column to its widest cell: the first to the left, the others to the right. */
function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  '),
    )
    .join('\n')
}
