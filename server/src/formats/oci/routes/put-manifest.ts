import { type Digest, parseReference, parseTag, RegistryError } from '@entrepot/oci'
import type { FastifyRequest } from 'fastify'
import { matchesEtag, readWholeBody } from '#platform/http'
import { type OciRoute, pathParameter, requestedRepository } from '../context.ts'
import { pushManifest } from '../manifests.ts'
import { queryValues } from '../query.ts'

/** Pushes a manifest and its tags (distribution-spec, "Pushing Manifests"). */
export const putManifest: OciRoute = (context) => ({
  method: 'PUT',
  url: '/v2/:name/manifests/:reference',
  config: { right: 'push', handler: 'manifest' },
  handler: async (request, reply) => {
    const repository = requestedRepository(request)
    const reference = parseReference(pathParameter(request, 'reference'))
    const tags = readTags(request, context.limits.tagsPerPush)
    if ('tag' in reference && tags.length > 0) {
      throw new RegistryError('TAG_INVALID', 'the query parameter "tag" goes with a push by digest, not by tag')
    }
    const pushed = await pushManifest(context, {
      repository,
      reference,
      tags,
      contentType: request.headers['content-type'],
      bytes: await readWholeBody(request, context.limits.manifestBytes, context.limits),
      checkCurrent: (current) => checkConditions(request, current),
    })
    void reply.headers({
      location: context.links.manifest(repository, pushed.digest),
      'docker-content-digest': pushed.digest,
    })
    if (tags.length > 0) void reply.header('oci-tag', tags)
    if (pushed.warnings.length > 0) void reply.header('warning', pushed.warnings.map(toWarning))
    if (pushed.subject !== undefined) void reply.header('oci-subject', pushed.subject)
    return reply.code(201).send()
  },
})

/** distribution-spec, "Warnings": the code and the agent are always these. */
const toWarning = (text: string): string => `299 - "${text}"`

function readTags(request: FastifyRequest, maxTags: number): readonly string[] {
  const tags = [...new Set(queryValues(request, 'tag'))]
  if (tags.length > maxTags) {
    throw new RegistryError('TAG_INVALID', `one push takes up to ${maxTags} tags; push the others separately`, {
      status: 414,
    })
  }
  return tags.map(parseTag)
}

/** RFC 9110, section 13: clients use it to change a referrers tag only if nobody else did. */
function checkConditions(request: FastifyRequest, current: Digest | undefined): void {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers
  const matches = (header: string) => current !== undefined && matchesEtag(header, `"${current}"`)
  if ((ifMatch === undefined || matches(ifMatch)) && (ifNoneMatch === undefined || !matches(ifNoneMatch))) return
  throw new RegistryError('UNSUPPORTED', 'the manifest was changed meanwhile; read it again', {
    status: 412,
    detail: { digest: current },
  })
}
