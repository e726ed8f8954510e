import type { HttpConnection } from '../client/http-connection.ts'
import { layOutTags } from '../servers/distribution-layout.ts'
import { makeImage, pushImage, putManifest } from '../client/image.ts'
import { type Server, withConnection } from '../servers/server.ts'
import { countedNames, forEachOver, type Listing, listingCase } from './listing.ts'
import type { Case, MakeWork } from './work.ts'

const IMAGE = makeImage(1)
const SMALL_COUNT = 1000
const PAGE_SIZE = 100
/** What one push by digest may bring (distribution-spec main, "Pushing Manifests"). */
const TAGS_PER_PUSH = 100

interface TaggedRepository {
  readonly name: string
  /** In the order in which a registry lists them. */
  readonly tags: readonly string[]
}

/** Lists of tags: whole ones, and pages at the beginning and in the middle of a long one. */
export const makeTagListWork: MakeWork = (options) => {
  const small = { name: 'bench/some-tags', tags: countedNames('v', SMALL_COUNT) }
  const large = { name: 'bench/many-tags', tags: countedNames('v', options.tags) }
  const push = async (connection: HttpConnection) =>
    putManifest(connection, small.name, IMAGE.manifest, small.tags[0] ?? '')
  return {
    name: 'tag-list',
    includesLimit: false,
    startsServers: false,
    async prepare(server) {
      await pushTags(server, small)
      await pushTags(server, large)
    },
    cases: [undefined, push].flatMap((before) => [
      fullList(small, before),
      fullList(large, before),
      page(large, { position: 'first', start: 0 }, before),
      page(large, { position: 'middle', start: Math.floor(options.tags / 2) }, before),
    ]),
  }
}

function fullList({ name, tags }: TaggedRepository, before: Listing['before']): Case {
  const path = `/v2/${name}/tags/list`
  return listingCase(
    `tag list, all of ${tags.length}`,
    (server) => ({ path, key: 'tags', expected: tags, unsorted: unsortedTagsOf(server, tags) }),
    before,
  )
}

function page(
  { name, tags }: TaggedRepository,
  { position, start }: { position: string; start: number },
  before: Listing['before'],
): Case {
  const last = start === 0 ? '' : `&last=${tags[start - 1]}`
  const path = `/v2/${name}/tags/list?n=${PAGE_SIZE}${last}`
  const expected = tags.slice(start, start + PAGE_SIZE)
  return {
    ...listingCase(
      `tag list, ${position} ${PAGE_SIZE} of ${tags.length}`,
      (server) => ({ path, key: 'tags', expected, unsorted: unsortedTagsOf(server, tags) }),
      before,
    ),
    remark:
      'docker-registry 2.8.2 does not page tags and does not sort them: it sends all, as the folder has them. ' +
      'Read this as latency, not as like for like',
  }
}

function unsortedTagsOf({ kind }: Server, tags: readonly string[]): readonly string[] | undefined {
  return kind.name === 'distribution-2' ? tags : undefined
}

async function pushTags(server: Server, { name, tags }: TaggedRepository): Promise<void> {
  const [first = '', ...others] = tags
  await withConnection(server, (connection) => pushImage(connection, name, IMAGE, first))
  if (server.kind.name.startsWith('distribution')) return layOutTags(server.dataFolder, name, first, others)
  const { digest } = IMAGE.manifest
  const pushes = Array.from({ length: Math.ceil(others.length / TAGS_PER_PUSH) }, (_, index) => {
    const tagsOfPush = others.slice(index * TAGS_PER_PUSH, (index + 1) * TAGS_PER_PUSH)
    return `${digest}?${tagsOfPush.map((tag) => `tag=${tag}`).join('&')}`
  })
  await forEachOver(server, pushes, (connection, push) => putManifest(connection, name, IMAGE.manifest, push))
}
