import { layOutRepositories } from '../servers/distribution-layout.ts'
import { makeImage, pushImage, putManifest } from '../client/image.ts'
import type { HttpConnection } from '../client/http-connection.ts'
import { withConnection } from '../servers/server.ts'
import { mountBlob } from '../client/upload.ts'
import { countedNames, forEachOver, type Listing, listingCase } from './listing.ts'
import type { Case, MakeWork } from './work.ts'

const IMAGE = makeImage(1)
const TAG = 'stable'
const SMALL_PAGE = 100
const LARGE_PAGE = 1000

/** Pages of the list of all repositories. */
export const makeCatalogWork: MakeWork = (options) => {
  const names = countedNames('bench/r', options.repositories)
  const [first = '', ...others] = names
  const push = async (connection: HttpConnection) => putManifest(connection, first, IMAGE.manifest, TAG)
  return {
    name: 'catalog',
    includesLimit: false,
    startsServers: false,
    async prepare(server) {
      await withConnection(server, (connection) => pushImage(connection, first, IMAGE, TAG))
      if (server.kind.name.startsWith('distribution')) return layOutRepositories(server.dataFolder, first, others)
      await forEachOver(server, others, async (connection, name) => {
        for (const { digest } of IMAGE.blobs) await mountBlob(connection, name, { digest, from: first })
        await putManifest(connection, name, IMAGE.manifest, TAG)
      })
    },
    cases: [undefined, push].flatMap((before) => [
      page(names, { size: SMALL_PAGE, position: 'first', start: 0 }, before),
      page(names, { size: SMALL_PAGE, position: 'middle', start: Math.floor(names.length / 2) }, before),
      page(names, { size: LARGE_PAGE, position: 'first', start: 0 }, before),
    ]),
  }
}

interface Page {
  readonly size: number
  readonly position: string
  readonly start: number
}

function page(names: readonly string[], { size, position, start }: Page, before: Listing['before']): Case {
  const last = start === 0 ? '' : `&last=${encodeURIComponent(names[start - 1] ?? '')}`
  const path = `/v2/_catalog?n=${size}${last}`
  const expected = names.slice(start, start + size)
  const label = `catalog, ${position} ${size} of ${names.length}`
  return listingCase(label, () => ({ path, key: 'repositories', expected }), before)
}
