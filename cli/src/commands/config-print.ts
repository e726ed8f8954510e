import { Command } from 'commander'

/** `entrepot config print [config.yml]` */
export function configPrint(): Command {
  return new Command('print')
    .description('print the configuration in force, with environment variables and defaults')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .option('--json', 'print JSON instead of YAML')
    .addHelpText('after', '\nExample:\n  entrepot config print > config.yml')
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const { configToDocument, loadConfig, printConfig } = await import('@entrepot/server/config')
      const { config } = loadConfig({ file })
      process.stdout.write(
        options.json === true ? `${JSON.stringify(configToDocument(config), null, 2)}\n` : printConfig(config),
      )
    })
}
