import { Command } from 'commander'
import { configCheck } from './commands/config-check.ts'
import { configPrint } from './commands/config-print.ts'
import { serve } from './commands/serve.ts'
import { version } from './commands/version.ts'

/** The command line: what can be said, and which file does it. */
export function createProgram(): Command {
  const program = new Command('entrepot')
    .description('A registry for container images and packages.')
    .usage('<command>')
    .addHelpText('after', '\nStart with "entrepot serve"; "entrepot <command> --help" tells more of a command.')
    .showHelpAfterError('("entrepot --help" lists the commands)')
    .exitOverride()
  program.addCommand(serve())
  program.addCommand(
    new Command('config')
      .description('check and print the configuration')
      .addCommand(configCheck())
      .addCommand(configPrint()),
  )
  program.addCommand(version())
  for (const command of [program, ...program.commands, ...program.commands.flatMap((parent) => parent.commands)]) {
    command.exitOverride().allowExcessArguments(false)
  }
  return program
}
