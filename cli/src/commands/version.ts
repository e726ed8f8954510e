import { Command } from 'commander'

/** `entrepot version` */
export function version(current: string): Command {
  return new Command('version')
    .description('print the version')
    .option('--json', 'print JSON, with the version of Node.js')
    .addHelpText('after', '\nExample:\n  entrepot version --json')
    .action((options: { json?: boolean }) => {
      const text =
        options.json === true
          ? JSON.stringify({ version: current, node: process.versions.node })
          : `entrepot ${current}`
      process.stdout.write(`${text}\n`)
    })
}
