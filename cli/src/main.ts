import { type Command, CommanderError } from 'commander'
import { createProgram } from './program.ts'
import { readVersion } from './read-version.ts'

const EXIT_USAGE = 2

/** Runs one command; the result is the exit code: 0 it went well, 1 it failed, 2 it was called wrongly. */
async function main(program: Command): Promise<number> {
  try {
    await program.parseAsync()
    // A command that found something wrong has said so.
    return process.exitCode === 1 ? 1 : 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
    process.stderr.write(`entrepot: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

process.exitCode = await main(createProgram(await readVersion()))
