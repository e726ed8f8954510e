import type { OciRoute } from '../context.ts'

/** Says that this is a registry (distribution-spec, "Determining Support"); clients log in against it. */
export const getBase: OciRoute = () => ({
  method: ['GET', 'HEAD'],
  url: '/v2/',
  config: { right: 'public', handler: 'base' },
  handler: async (_request, reply) => reply.type('application/json').send('{}'),
})
