import type { OciRoute } from '../context.ts'

const NO_EXTENSIONS = JSON.stringify({ extensions: [] })

/** Lists the extensions of the registry (distribution-spec, extensions/_oci): there are none. */
export const getExtensions: OciRoute = () => ({
  method: ['GET', 'HEAD'],
  url: '/v2/_oci/ext/discover',
  config: { right: 'public', handler: 'extensions' },
  handler: async (_request, reply) => reply.type('application/json').send(NO_EXTENSIONS),
})

/** The same for one repository. */
export const getRepositoryExtensions: OciRoute = () => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/_oci/ext/discover',
  config: { right: 'pull', handler: 'extensions' },
  handler: async (_request, reply) => reply.type('application/json').send(NO_EXTENSIONS),
})
