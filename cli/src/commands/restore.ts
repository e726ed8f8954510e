import { Command } from 'commander'
import type { Config } from '@entrepot/server/config'
import type { Finding } from '@entrepot/server/fsck'
import type { BackupCounts } from '@entrepot/server/restore'
import { printTransfer } from '../transfer-printer.ts'
import { copiedText, locate } from './backup.ts'
import { lineOf } from './fsck.ts'

interface Options {
  readonly backup?: string
  readonly fsck: boolean
  readonly json?: true
}

/** `entrepot restore <place> [config.yml]` */
export function restore(): Command {
  return new Command('restore')
    .description('bring a backup into an empty installation, and check it')
    .argument('<place>', 'where "entrepot backup" keeps backups: a folder, or s3://<bucket>/<prefix>')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .option('--backup <id>', 'the one to take, of "entrepot backup --list"; without it the newest')
    .option('--no-fsck', 'do not check the result')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
All content is compared with its digest on its way; the metadata comes last. The exit code is 1 when content is missing or
damaged in the backup, or the check finds errors.

Examples:
  entrepot restore /mnt/backup /etc/entrepot/config.yml
  entrepot restore s3://backups/registry /etc/entrepot/config.yml`,
    )
    .action(async (place: string, file: string | undefined, options: Options) => {
      const { loadConfig } = await import('@entrepot/server/config')
      const server = await import('@entrepot/server/restore')
      const { config } = loadConfig({ file })
      const isJson = options.json === true
      let id = ''
      const { counts, failures } = await printTransfer<BackupCounts>(
        {
          run: async (hear) => {
            const source = { source: await locate(place), id: options.backup }
            id = (await server.restore(config, source, async (event) => hear(event))).id
          },
          describe: copiedText,
        },
        isJson,
      )
      process.stdout.write(isJson ? `,\n"backup":${JSON.stringify(id)}` : `restored ${id}: ${copiedText(counts)}\n`)
      const findings = options.fsck ? await check(config, isJson) : []
      if (isJson) process.stdout.write(`,\n"findings":${JSON.stringify(findings)}}\n`)
      if (failures > 0 || findings.some((found) => found.severity === 'error')) process.exitCode = 1
    })
}

/** Checks what was restored, and prints what is found unless it is for a program. */
async function check(config: Config, isJson: boolean): Promise<Finding[]> {
  const { fsck } = await import('@entrepot/server/fsck')
  const options = { config, isOnline: false, isDeep: false, isQuarantining: false, bytesPerSecond: undefined }
  const { findings, checked } = await fsck(options)
  const found: Finding[] = []
  for await (const finding of findings) {
    found.push(finding)
    if (!isJson) process.stdout.write(`${lineOf(finding)}\n`)
  }
  const errors = found.filter((finding) => finding.severity === 'error').length
  if (!isJson) process.stdout.write(`checked ${checked.repositories} repositories: ${errors} errors\n`)
  return found
}
