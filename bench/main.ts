import { rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { HELP, type Options, readOptions } from './options.ts'
import { compare } from './report/comparison.ts'
import { describeMachine } from './report/machine.ts'
import { renderMarkdown } from './report/markdown.ts'
import { failuresOf, type RunRecord } from './report/run-record.ts'
import { renderForTerminal } from './report/terminal.ts'
import { type CaseResult, runWork } from './rounds.ts'
import { findScaledOutKinds, findServerKinds } from './servers/kinds.ts'
import { killAllServers } from './servers/server.ts'
import { ALL_WORK, SCALED_OUT_WORK } from './work/all.ts'
import { wrkVersion } from './work/request-load.ts'
import type { Work } from './work/work.ts'

const FOLDER = fileURLToPath(new URL('.', import.meta.url))

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}

/** @returns 0, or 1 when a server failed */
async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), FOLDER)
  const works = (options.scaleOut ? SCALED_OUT_WORK : ALL_WORK).map((make) => make(options))
  if (options.help) {
    console.log(`${HELP}\nWork: ${works.map(({ name }) => name).join(', ')}`)
    return 0
  }
  const run = await measure(options, chooseWork(works, options.only))
  console.log(`\n${renderForTerminal(run)}`)
  if (options.output !== undefined) {
    await writeFile(options.output, renderMarkdown(run))
    console.log(`\nWritten to ${relative('.', options.output)}`)
  }
  return failuresOf(run).length === 0 ? 0 : 1
}

async function measure(options: Options, works: readonly Work[]): Promise<RunRecord> {
  const { kinds, missing } = options.scaleOut ? findScaledOutKinds() : await findServerKinds()
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-bench-'))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      killAllServers()
      rmSync(folder, { recursive: true, force: true })
      process.exit(1)
    })
  }
  try {
    const startedAt = new Date()
    const machine = describeMachine(folder)
    const results: CaseResult[] = []
    for (const work of works) results.push(...(await runWork(work, kinds, { folder, rounds: options.rounds })))
    const minutes = (Date.now() - startedAt.getTime()) / 60_000
    const loadGenerator = wrkVersion ?? "the bench's own client"
    return { startedAt, minutes, options, machine, loadGenerator, kinds, missing, results, rows: compare(results) }
  } finally {
    killAllServers()
    await rm(folder, { recursive: true, force: true })
  }
}

/** @throws Error when a name is not that of a work */
function chooseWork(works: readonly Work[], only: readonly string[]): readonly Work[] {
  const names = works.map(({ name }) => name)
  const unknown = only.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown} is unknown; there are ${names.join(', ')}`)
  return works.filter(({ name }) => only.length === 0 || only.includes(name))
}
