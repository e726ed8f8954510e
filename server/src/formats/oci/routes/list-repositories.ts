import { listRepositoryNames } from '#core/repositories'
import type { OciRoute } from '../context.ts'
import { NamePages } from '../name-pages.ts'
import { parsePage } from '../query.ts'

/** Lists repositories in pages, as Docker's registry does (`/v2/_catalog`). */
export const listRepositories: OciRoute = (context) => {
  const pages = new NamePages(context)
  return {
    method: ['GET', 'HEAD'],
    url: '/v2/_catalog',
    config: { right: 'catalog', handler: 'catalog' },
    handler: async (request, reply) => {
      const { after, limit = Number.MAX_SAFE_INTEGER } = parsePage(request)
      return pages.send(reply, {
        path: '_catalog',
        after,
        limit: Math.min(limit, context.limits.catalogPageSize),
        list: async (count) => listRepositoryNames(context.database.read, after, count),
        answer: (repositories) => ({ repositories }),
      })
    },
  }
}
