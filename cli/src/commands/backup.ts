import { resolve } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { BackupCounts, BackupLocation } from '@entrepot/server/restore'
import { withManagement } from '../management-client.ts'
import { counted, countText, sizeText } from '../size-text.ts'
import { follow, printTransfer } from '../transfer-printer.ts'

interface Options {
  readonly keep?: number
  readonly list?: true
  readonly json?: true
}

/** `entrepot backup <place> [config.yml]` */
export function backup(): Command {
  return new Command('backup')
    .description('copy everything as it is at one moment, while pushes and pulls go on')
    .argument('<place>', 'where backups are kept: a folder, better on another disk, or s3://<bucket>/<prefix>')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .addOption(new Option('--keep <n>', 'then keep only so many backups').argParser(parseCount).conflicts('list'))
    .option('--list', 'list the backups in the place, the newest first')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Backups in one place share their content, so that only what is new is copied. Everything that was acknowledged before the
command began is in it. The exit code is 1 when content was missing or damaged, which is told.

A bucket is reached as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL_S3 say, as the AWS tools
are; without keys the role of the machine counts.

Examples:
  entrepot backup --keep 7 /mnt/backup /etc/entrepot/config.yml
  entrepot backup --keep 7 s3://backups/registry /etc/entrepot/config.yml
  entrepot backup --list /mnt/backup`,
    )
    .action(async (place: string, file: string | undefined, options: Options) => {
      if (options.list === true) await list(place, options.json === true)
      else await create(place, file, options)
    })
}

async function create(place: string, file: string | undefined, options: Options): Promise<void> {
  const body = { ...(await locate(place)), ...(options.keep !== undefined && { keep: options.keep }) }
  const { counts, failures } = await printTransfer<BackupCounts>(
    {
      run: async (hear) => withManagement(file, async (client) => follow(client, { url: 'backups', body }, hear)),
      describe: copiedText,
    },
    options.json === true,
  )
  process.stdout.write(options.json === true ? '}\n' : `backed up ${copiedText(counts)}\n`)
  if (failures > 0) process.exitCode = 1
}

/** Where backups are kept, as it was said on the command line and in the environment. */
export async function locate(place: string): Promise<BackupLocation> {
  const { readAwsEnvironment } = await import('@entrepot/server/config')
  const isBucket = place.startsWith('s3://')
  return { target: isBucket ? place : resolve(place), access: isBucket ? readAwsEnvironment() : {} }
}

async function list(place: string, isJson: boolean): Promise<void> {
  const { listBackups } = await import('@entrepot/server/restore')
  const backups = await listBackups(await locate(place))
  if (isJson) process.stdout.write(`${JSON.stringify({ backups })}\n`)
  for (const { id, contents, bytes, missing } of isJson ? [] : backups) {
    const flaw = missing === 0 ? '' : `, ${counted(missing, 'content')} missing`
    process.stdout.write(`${id}  ${counted(contents, 'content')}, ${sizeText(bytes)}${flaw}\n`)
  }
}

/** What was copied, for a backup and for a restore. */
export function copiedText({ contents = 0, copied = 0, present = 0, bytes = 0 }: Partial<BackupCounts>): string {
  return (
    `${counted(contents, 'content')}: ${countText(copied)} copied (${sizeText(bytes)}), ` +
    `${countText(present)} there before`
  )
}

function parseCount(text: string): number {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count > 0) return count
  throw new InvalidArgumentError('it must be a whole number above 0.')
}
