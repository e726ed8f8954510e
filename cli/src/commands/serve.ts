import { Command } from 'commander'

/** `entrepot serve [config.yml]` */
export function serve(version: string): Command {
  return new Command('serve')
    .description('run the registry until SIGTERM or SIGINT')
    .argument(
      '[config.yml]',
      'configuration; without it REGISTRY_CONFIGURATION_PATH, or ./data on http://127.0.0.1:5000',
    )
    .addHelpText(
      'after',
      `
Examples:
  entrepot serve
  entrepot serve /etc/entrepot/config.yml
  REGISTRY_HTTP_ADDR=127.0.0.1:5001 entrepot serve

"entrepot config check" says what is wrong with a configuration, "entrepot config print" what is in force.`,
    )
    .action(async (file: string | undefined) => {
      const { loadConfig } = await import('@entrepot/server/config')
      const { config, warnings } = loadConfig({ file })
      const server = await import('@entrepot/server')
      await server.serve({ config, warnings, version }).catch(async (error: unknown) => {
        const { explainStartError } = await import('../start-errors.ts')
        throw explainStartError(error, config)
      })
    })
}
