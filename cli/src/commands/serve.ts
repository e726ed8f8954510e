import { Command } from 'commander'
import { readVersion } from '../read-version.ts'

/** `entrepot serve [config.yml]` */
export function serve(): Command {
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
  REGISTRY_HTTP_ADDR=127.0.0.1:5001 entrepot serve`,
    )
    .action(async (file: string | undefined) => {
      const { loadConfig } = await import('@entrepot/server/config')
      const { config, warnings } = loadConfig({ file })
      const server = await import('@entrepot/server')
      await server.serve({ config, warnings, version: await readVersion() }).catch((error: unknown) => {
        throw explain(error, config.http.addr)
      })
    })
}

/** Adds the next step to what the system says. */
function explain(error: unknown, address: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  switch (error.code) {
    case 'EADDRINUSE':
      return new Error(`${address} is taken by another program; end that, or set "http.addr" (REGISTRY_HTTP_ADDR)`)
    case 'EADDRNOTAVAIL':
      return new Error(`this machine does not have the address ${address}; set "http.addr" (REGISTRY_HTTP_ADDR)`)
    case 'EACCES':
    case 'EPERM':
      return new Error(`this user may not do that: ${error.message}`)
    case 'ENOENT':
      return new Error(`a file that the configuration names is missing: ${error.message}`)
    default:
      return error
  }
}
