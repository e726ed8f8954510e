import { Command } from 'commander'
import { readVersion } from '../read-version.ts'

/** `entrepot version` */
export function version(): Command {
  return new Command('version')
    .description('print the version')
    .option('--json', 'print JSON, with the version of Node.js')
    .action(async (options: { json?: boolean }) => {
      const current = await readVersion()
      const text =
        options.json === true
          ? JSON.stringify({ version: current, node: process.versions.node })
          : `entrepot ${current}`
      process.stdout.write(`${text}\n`)
    })
}
