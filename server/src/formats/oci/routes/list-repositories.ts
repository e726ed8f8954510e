import { listRepositoryNames } from '#core/repositories'
import type { OciRoute } from '../context.ts'
import { parsePage } from '../query.ts'

/** Lists repositories in pages, as Docker's registry does (`/v2/_catalog`). */
export const listRepositories: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/_catalog',
  config: { right: 'catalog', handler: 'catalog' },
  handler: async (request, reply) => {
    const page = parsePage(request)
    const limit = Math.min(page.limit ?? Number.MAX_SAFE_INTEGER, context.limits.catalogPageSize)
    const found = limit === 0 ? [] : await listRepositoryNames(context.database.read, page.after, limit + 1)
    const repositories = found.slice(0, limit)
    const last = repositories.at(-1)
    if (found.length > limit && last !== undefined) {
      void reply.header('link', context.links.next('_catalog', { n: String(limit), last }))
    }
    return reply.send({ repositories })
  },
})
