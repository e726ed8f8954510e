import { Command } from 'commander'
import { backup } from './commands/backup.ts'
import { configCheck } from './commands/config-check.ts'
import { configPrint } from './commands/config-print.ts'
import { gc } from './commands/gc.ts'
import { fsck } from './commands/fsck.ts'
import { exportImages } from './commands/export-images.ts'
import { importDistribution } from './commands/import-distribution.ts'
import { importImages } from './commands/import-images.ts'
import { job } from './commands/job.ts'
import { migrateMetadata } from './commands/migrate-metadata.ts'
import { restore } from './commands/restore.ts'
import { serve } from './commands/serve.ts'
import { trash } from './commands/trash.ts'
import { version } from './commands/version.ts'

/**
 * The command line: what can be said, and which file does it.
 * @param current the version of this installation
 */
export function createProgram(current: string): Command {
  const program = new Command('entrepot')
    .description('A registry for container images and other OCI artifacts.')
    .usage('<command>')
    .version(`entrepot ${current}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('after', '\nStart with "entrepot serve"; "entrepot <command> --help" tells more of a command.')
  program.addCommand(serve(current))
  program.addCommand(fsck())
  program.addCommand(
    new Command('config')
      .description('check and print the configuration')
      .addCommand(configCheck())
      .addCommand(configPrint()),
  )
  program.addCommand(gc())
  program.addCommand(trash())
  program.addCommand(backup())
  program.addCommand(restore())
  program.addCommand(
    new Command('import')
      .description('take images over')
      .addCommand(importDistribution())
      .addCommand(importImages('oci-layout'))
      .addCommand(importImages('docker-archive')),
  )
  program.addCommand(
    new Command('export')
      .description('write images as archives')
      .addCommand(exportImages('oci-layout'))
      .addCommand(exportImages('docker-archive')),
  )
  program.addCommand(job())
  program.addCommand(
    new Command('migrate').description('move what is stored to another place').addCommand(migrateMetadata()),
  )
  program.addCommand(version(current))
  prepare(program, [program.name()])
  return program
}

/** What holds for every command: a wrong call is an error that names the help which tells the right one. */
function prepare(command: Command, words: readonly string[]): void {
  command
    .exitOverride()
    .allowExcessArguments(false)
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError(`("${words.join(' ')} --help" tells what it takes)`)
  for (const child of command.commands) prepare(child, [...words, child.name()])
}
