import { layOutRepositories } from '../servers/distribution-layout.ts'
import { makeImage, pushImage, putManifest } from '../client/image.ts'
import { withConnection } from '../servers/server.ts'
import { mountBlob } from '../client/upload.ts'
import { countedNames, forEachOver, measureListing } from './listing.ts'
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
    cases: [
      page(names, SMALL_PAGE, 'first', 0),
      page(names, SMALL_PAGE, 'middle', Math.floor(names.length / 2)),
      page(names, LARGE_PAGE, 'first', 0),
    ],
  }
}

function page(names: readonly string[], size: number, position: string, start: number): Case {
  const last = start === 0 ? '' : `&last=${encodeURIComponent(names[start - 1] ?? '')}`
  const path = `/v2/_catalog?n=${size}${last}`
  const expected = names.slice(start, start + size)
  return {
    label: `catalog, ${position} ${size} of ${names.length}`,
    measure: (server) => measureListing(server, { path, key: 'repositories', expected }),
  }
}
