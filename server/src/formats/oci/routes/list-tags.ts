import { type OciRoute, requestedRepository } from '../context.ts'
import { requireRepository } from '../manifests.ts'
import { parsePage } from '../query.ts'
import { listTagNames } from '../tag-rows.ts'

/** Lists tags, all or a page of them (distribution-spec, "Listing Tags"). */
export const listTags: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/tags/list',
  config: { right: 'pull', handler: 'tags' },
  handler: async (request, reply) => {
    const name = requestedRepository(request)
    const page = parsePage(request)
    const { read } = context.database
    // Who does not ask for pages may not know of them: all tags are the answer then.
    const limit = page.limit === undefined ? Number.MAX_SAFE_INTEGER - 1 : Math.min(page.limit, context.limits.pageSize)
    const found = limit === 0 ? [] : await listTagNames(read, name, page.after, limit + 1)
    if (found.length === 0) await requireRepository(read, name)
    const tags = found.slice(0, limit)
    const last = tags.at(-1)
    if (found.length > limit && last !== undefined) {
      void reply.header('link', context.links.next(`${name}/tags/list`, { n: String(limit), last }))
    }
    return reply.send({ name, tags })
  },
})
