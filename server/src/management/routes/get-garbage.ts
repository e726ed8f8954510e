import type { Digest } from '@entrepot/oci'
import type { GarbageSurvey } from '#core/blobs'
import type { ManagementRoute } from '../context.ts'

/** What nothing needs; the digests of what a run would remove now are there where they are asked for. */
export interface GarbageAnswer extends GarbageSurvey {
  readonly digests?: readonly Digest[]
}

/** Says what a run would remove now, and what will follow. It looks at every row, which takes its time. */
export const getGarbage: ManagementRoute = (context) => ({
  method: 'GET',
  url: '/api/v1/garbage-collection/garbage',
  config: { right: 'manage', handler: 'management' },
  handler: async (request, reply) => {
    const isListed = new URL(request.url, 'http://localhost').searchParams.get('digests') === 'true'
    const digests: Digest[] = []
    const survey = await context.garbage.survey((digest) => {
      if (isListed) digests.push(digest)
    })
    const answer: GarbageAnswer = isListed ? { ...survey, digests } : survey
    return reply.send(answer)
  },
})
