import { layOutRepositories } from '../servers/distribution-layout.ts'
import { makeImage, pushImage, putManifest } from '../client/image.ts'
import type { HttpConnection } from '../client/http-connection.ts'
import { withConnection } from '../servers/server.ts'
import { mountBlob } from '../client/upload.ts'
import { AFTER_PUSH, countedNames, forEachOver, measureListing } from './listing.ts'
import type { Case, MakeWork } from './work.ts'

const IMAGE = makeImage(1)
const TAG = 'stable'
const SMALL_PAGE = 100
const LARGE_PAGE = 1000

/** Pages of the list of all repositories. */
export const makeCatalogWork: MakeWork = (options) => {
  const names = countedNames('bench/r', options.repositories)
  const [first = '', ...others] = names
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
    cases: [false, true].flatMap((isAfterPush) => [
      page(names, { size: SMALL_PAGE, position: 'first', start: 0 }, isAfterPush),
      page(names, { size: SMALL_PAGE, position: 'middle', start: Math.floor(names.length / 2) }, isAfterPush),
      page(names, { size: LARGE_PAGE, position: 'first', start: 0 }, isAfterPush),
    ]),
  }
}

interface Page {
  readonly size: number
  readonly position: string
  readonly start: number
}

function page(names: readonly string[], { size, position, start }: Page, isAfterPush: boolean): Case {
  const last = start === 0 ? '' : `&last=${encodeURIComponent(names[start - 1] ?? '')}`
  const path = `/v2/_catalog?n=${size}${last}`
  const expected = names.slice(start, start + size)
  const before = isAfterPush
    ? async (connection: HttpConnection) => putManifest(connection, names[0] ?? '', IMAGE.manifest, TAG)
    : undefined
  return {
    label: `catalog, ${position} ${size} of ${names.length}${isAfterPush ? AFTER_PUSH : ''}`,
    measure: (server) => measureListing(server, { path, key: 'repositories', expected, before }),
  }
}
