import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import type { ImportCounts, tryDistribution } from '@entrepot/server/management'
import { withManagement } from '../management-client.ts'
import { counted, sizeText } from '../size-text.ts'
import { follow, printTransfer, type Transfer } from '../transfer-printer.ts'

interface Options {
  readonly dryRun?: true
  readonly updateTags?: true
  readonly json?: true
}

/** `entrepot import distribution <source> [config.yml]` */
export function importDistribution(): Command {
  return new Command('distribution')
    .description(
      'take over the images of a CNCF distribution registry (registry:2, registry:3) out of its folder or bucket',
    )
    .argument('<source>', 'its folder, its config.yml, or s3://<bucket>/<rootdirectory>')
    .argument('[config.yml]', 'our file; without it what "entrepot serve" would use')
    .addOption(
      new Option('--dry-run', 'read and compare everything, and tell what an empty registry would take over').conflicts(
        'updateTags',
      ),
    )
    .option('--update-tags', 'let tags that stand for something else here follow the source')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Its config.yml says which folder or bucket it uses, and how that is reached; for s3:// the variables of the AWS tools say it
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL). Nothing in the source is changed. Files become hard links where the file system and their owner allow that, and copies
elsewhere, as what comes out of a bucket, or goes into one; all are compared with their digests. Done again, it takes over what has come since. It works beside a running
server, and before the first start.
The exit code is 1 when something could not be taken over, each of which is told; a tag that stays is no failure.

Examples:
  entrepot import distribution --dry-run /var/lib/registry
  entrepot import distribution /var/lib/registry /etc/entrepot/config.yml
  entrepot import distribution /etc/docker/registry/config.yml /etc/entrepot/config.yml`,
    )
    .action(async (path: string, file: string | undefined, options: Options) => {
      const source = await locateSource(path)
      const isDryRun = options.dryRun === true
      const run = isDryRun ? tryOut(source, file) : importInto(source, file, options.updateTags === true)
      const { counts, failures } = await printTransfer({ run, describe: countsText }, options.json === true)
      process.stdout.write(options.json === true ? '}\n' : summary(counts, isDryRun))
      if (failures > 0) process.exitCode = 1
    })
}

type Run = Transfer<ImportCounts>['run']

type Source = Parameters<typeof tryDistribution>[1]

/** What is imported, as it was said on the command line and in the environment. */
async function locateSource(path: string): Promise<Source> {
  if (!path.startsWith('s3://')) return { source: resolve(path), access: {} }
  const { readAwsEnvironment } = await import('@entrepot/server/config')
  return { source: path, access: readAwsEnvironment() }
}

function tryOut(source: Source, file: string | undefined): Run {
  return async (hear) => {
    const { loadConfig } = await import('@entrepot/server/config')
    const { tryDistribution } = await import('@entrepot/server/management')
    await tryDistribution(loadConfig({ file }).config, source, async (event) => hear(event))
  }
}

function importInto(source: Source, file: string | undefined, isUpdatingTags: boolean): Run {
  const body = { ...source, ...(isUpdatingTags && { existingTags: 'update' }) }
  return async (hear) =>
    withManagement(file, async (client) => follow(client, { url: 'imports/distribution', body }, hear), {
      isCreating: true,
    })
}

function summary(counts: Partial<ImportCounts>, isDryRun: boolean): string {
  const { linked = 0, copied = 0, present = 0, skipped = 0 } = counts
  const text = countsText(counts)
  if (isDryRun) return `would take over ${text}; nothing was changed, ${skipped} skipped\n`
  return `took over ${text}; ${linked} contents linked, ${copied} copied, ${present} there before, ${skipped} skipped\n`
}

/** What an import has taken over, in a line. */
export function countsText({
  repositories = 0,
  blobs = 0,
  manifests = 0,
  tags = 0,
  bytes = 0,
}: Partial<ImportCounts>): string {
  const name = repositories === 1 ? '1 repository' : `${repositories} repositories`
  return `${name}, ${counted(blobs, 'blob')}, ${counted(manifests, 'manifest')}, ${counted(tags, 'tag')}, ${sizeText(bytes)}`
}
