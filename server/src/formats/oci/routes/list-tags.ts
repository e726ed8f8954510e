import { type OciRoute, requestedRepository } from '../context.ts'
import { requireRepository } from '../manifests.ts'
import { NamePages } from '../name-pages.ts'
import { parsePage } from '../query.ts'
import { listTagNames } from '../tag-rows.ts'

/** Lists tags, all or a page of them (distribution-spec, "Listing Tags"). */
export const listTags: OciRoute = (context) => {
  const pages = new NamePages(context)
  return {
    method: ['GET', 'HEAD'],
    url: '/v2/:name/tags/list',
    config: { right: 'pull', handler: 'tags' },
    handler: async (request, reply) => {
      const name = requestedRepository(request)
      const { after, limit } = parsePage(request)
      const { read } = context.database
      return pages.send(reply, {
        path: `${name}/tags/list`,
        after,
        // Who does not ask for pages may not know of them: all tags are the answer then.
        limit: limit === undefined ? Number.MAX_SAFE_INTEGER - 1 : Math.min(limit, context.limits.pageSize),
        list: async (count) => {
          const tags = await listTagNames(read, name, after, count)
          if (tags.length === 0) await requireRepository(read, name)
          return tags
        },
        answer: (tags) => ({ name, tags }),
      })
    },
  }
}
