import { OCI_IMAGE_INDEX, parseDigest } from '@entrepot/oci'
import { findRepositoryId } from '#core/repositories'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { queryValue, queryValues } from '../query.ts'
import { listReferrers } from '../referrers.ts'

/** Lists what is attached to a manifest (distribution-spec, "Listing Referrers"); never 404. */
export const getReferrers: OciRoute = (context) => ({
  method: ['GET', 'HEAD'],
  url: '/v2/:name/referrers/:digest',
  config: { right: 'pull', handler: 'referrers' },
  handler: async (request, reply) => {
    const name = requestedRepository(request)
    const subject = parseDigest(pathParameter(request, 'digest'))
    const artifactTypes = queryValues(request, 'artifactType').filter((type) => type !== '')
    const last = queryValue(request, 'last')
    const { read } = context.database
    const page = await listReferrers(read, await findRepositoryId(read, name), {
      subject,
      artifactTypes,
      after: last === undefined ? undefined : parseDigest(last),
      limit: context.limits.pageSize,
    })
    if (artifactTypes.length > 0) void reply.header('oci-filters-applied', 'artifactType')
    if (page.next !== undefined) {
      const query = new URLSearchParams(artifactTypes.map((type) => ['artifactType', type]))
      query.set('last', page.next)
      void reply.header('link', context.links.next(`${name}/referrers/${subject}`, query))
    }
    // As bytes, because the framework adds a charset to the type of text, and the type must be exactly this.
    return reply.header('content-type', OCI_IMAGE_INDEX).send(Buffer.from(page.json))
  },
})
