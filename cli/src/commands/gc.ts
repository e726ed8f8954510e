import { Command } from 'commander'
import type { GarbageRun } from '@entrepot/server/management'
import { withManagement } from '../management-client.ts'

/** `entrepot gc [config.yml]` */
export function gc(): Command {
  return new Command('gc')
    .description('free the space of what nothing needs')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .requiredOption('--now', 'collect garbage now')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  entrepot gc --now config.yml')
    .action(async (file: string | undefined, options: { now?: boolean; json?: boolean }) => {
      await withManagement(file, async (client) => {
        const run = await client.request<GarbageRun>('POST', 'garbage-collection/runs')
        process.stdout.write(options.json === true ? `${JSON.stringify(run)}\n` : `${run.removedBytes} bytes freed\n`)
      })
    })
}
