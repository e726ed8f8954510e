import { Command } from 'commander'

/** `entrepot config check [config.yml]` */
export function configCheck(): Command {
  return new Command('check')
    .description('say what is wrong with a configuration')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nThe exit code is 0 when "entrepot serve" would accept it, else 1.\n\nExample:\n  entrepot config check config.yml',
    )
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const { ConfigError, loadConfig } = await import('@entrepot/server/config')
      const isJson = options.json === true
      try {
        const { warnings } = loadConfig({ file })
        if (isJson) process.stdout.write(`${JSON.stringify({ valid: true, problems: [], warnings })}\n`)
        else
          process.stdout.write(
            [...warnings.map(({ message }) => `warning: ${message}`), 'the configuration is valid', ''].join('\n'),
          )
      } catch (error) {
        if (isJson && error instanceof ConfigError) {
          process.stdout.write(`${JSON.stringify({ valid: false, problems: error.problems, warnings: [] })}\n`)
        }
        throw error
      }
    })
}
