import { resolve } from 'node:path'
import { Command } from 'commander'
import type { ImportCounts } from '@entrepot/server/management'
import { withManagement } from '../management-client.ts'
import { follow, printTransfer } from '../transfer-printer.ts'
import { countsText } from './import-distribution.ts'

interface Options {
  readonly as?: string
  readonly json?: true
}

/** `entrepot import oci-layout <path> [config.yml]` and `entrepot import docker-archive <file> [config.yml]` */
export function importImages(form: 'oci-layout' | 'docker-archive'): Command {
  const isLayout = form === 'oci-layout'
  return new Command(form)
    .description(
      isLayout
        ? 'push the images of an OCI image layout'
        : 'push the images of what "docker save" or "podman save" wrote',
    )
    .argument(isLayout ? '<path>' : '<file>', isLayout ? 'its folder, or a tar archive of it' : 'the tar archive')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .option('--as <name[:tag]>', 'what to call it; without it what the archive says, but for the registry')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
${isLayout ? 'Digests stay the same.' : "Layers stay as they are; a manifest of Docker's schema 2 is made for them."} Tags follow, as with a push. The exit code is 1 when something was refused.

Example:
  entrepot import ${form} image.tar --as team/app:1.0`,
    )
    .action(async (path: string, file: string | undefined, options: Options) => {
      const body = { form, source: resolve(path), ...(options.as !== undefined && { as: options.as }) }
      const run = { url: 'imports/images', body }
      const { counts, failures } = await printTransfer<ImportCounts>(
        {
          run: async (hear) => withManagement(file, async (client) => follow(client, run, hear), { isCreating: true }),
          describe: countsText,
        },
        options.json === true,
      )
      process.stdout.write(options.json === true ? '}\n' : `imported ${countsText(counts)}\n`)
      if (failures > 0) process.exitCode = 1
    })
}
