import type { Dirent } from 'node:fs'
import { open, opendir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestAlgorithm, digestHex, isDigest } from '@entrepot/oci'
import { FileIntake, type FileOrder, type FileOutcome } from '#core/blobs'
import { isAbsence } from '#platform/disk'
import type { DistributionSource, SourceRepository } from './distribution-source.ts'

/**
 * The folder of CNCF distribution's `filesystem` driver (distribution, registry/storage/paths.go):
 *
 *     blobs/<algorithm>/<first two digits>/<hex>/data
 *     repositories/<name>/_layers/<algorithm>/<hex>/link
 *     repositories/<name>/_manifests/revisions/<algorithm>/<hex>/link
 *     repositories/<name>/_manifests/tags/<tag>/current/link
 *
 * A link is a file that says a digest. Nothing here is ever changed.
 */
export class DistributionFolder implements DistributionSource {
  readonly files = undefined
  readonly #intake = new FileIntake(undefined)
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
  }

  /**
   * @param path the `rootdirectory` of distribution's configuration, or `docker/registry/v2` in it.
   * @throws when there is no registry.
   */
  static async open(path: string): Promise<DistributionFolder> {
    for (const root of [join(path, 'docker', 'registry', 'v2'), path]) {
      if (await isFolder(join(root, 'repositories'))) return new DistributionFolder(root)
    }
    throw new Error(
      `there is no registry in ${path}: name the folder that "storage.filesystem.rootdirectory" names in the ` +
        'configuration of CNCF distribution, which has docker/registry/v2 in it, and let this user read it',
    )
  }

  /** All repositories, each before those whose names go on after its own. */
  async *repositories(): AsyncGenerator<SourceRepository> {
    yield* repositoriesIn(join(this.#root, 'repositories'), '')
  }

  layers({ path }: SourceRepository): AsyncGenerator<string> {
    return digestsIn(join(path, '_layers'))
  }

  revisions({ path }: SourceRepository): AsyncGenerator<string> {
    return digestsIn(join(path, '_manifests', 'revisions'))
  }

  async *tags({ path }: SourceRepository): AsyncGenerator<string> {
    for await (const entry of foldersIn(join(path, '_manifests', 'tags'))) yield entry.name
  }

  async readTag({ path }: SourceRepository, tag: string): Promise<string | undefined> {
    return readLink(join(path, '_manifests', 'tags', tag, 'current', 'link'))
  }

  layerLink({ path }: SourceRepository, digest: Digest): string {
    return join(path, '_layers', digestAlgorithm(digest), digestHex(digest), 'link')
  }

  async hasRevision({ path }: SourceRepository, digest: Digest): Promise<boolean | undefined> {
    const folder = join(path, '_manifests', 'revisions', digestAlgorithm(digest), digestHex(digest))
    const text = await readLink(join(folder, 'link'))
    return text === undefined ? undefined : text === digest
  }

  content(digest: Digest): string {
    const hex = digestHex(digest)
    return join(this.#root, 'blobs', digestAlgorithm(digest), hex.slice(0, 2), hex, 'data')
  }

  async *contents(): AsyncGenerator<Digest> {
    const blobs = join(this.#root, 'blobs')
    for await (const algorithm of foldersIn(blobs)) {
      for await (const prefix of foldersIn(join(blobs, algorithm.name))) {
        for await (const entry of foldersIn(join(blobs, algorithm.name, prefix.name))) {
          const digest = `${algorithm.name}:${entry.name}`
          if (isDigest(digest)) yield digest
        }
      }
    }
  }

  async size(digest: Digest): Promise<number | undefined> {
    return stat(this.content(digest)).then(
      (status) => status.size,
      () => undefined,
    )
  }

  async read(digest: Digest, maxBytes: number): Promise<Buffer | undefined | null> {
    try {
      const file = await open(this.content(digest))
      try {
        return (await file.stat()).size > maxBytes ? undefined : await file.readFile()
      } finally {
        await file.close()
      }
    } catch (error) {
      if (isAbsence(error)) return null
      throw error
    }
  }

  async compare(orders: readonly FileOrder[]): Promise<FileOutcome[]> {
    return this.#intake.prepare(orders, Number.POSITIVE_INFINITY)
  }
}

async function* repositoriesIn(folder: string, name: string): AsyncGenerator<SourceRepository> {
  const nested: string[] = []
  let isRepository = false
  for await (const entry of foldersIn(folder)) {
    if (entry.name === '_manifests' || entry.name === '_layers') isRepository = true
    else if (!entry.name.startsWith('_')) nested.push(entry.name)
  }
  if (isRepository) yield { name, path: folder }
  for (const part of nested) yield* repositoriesIn(join(folder, part), name === '' ? part : `${name}/${part}`)
}

async function* digestsIn(folder: string): AsyncGenerator<string> {
  for await (const algorithm of foldersIn(folder)) {
    for await (const entry of foldersIn(join(folder, algorithm.name))) yield `${algorithm.name}:${entry.name}`
  }
}

/** The folders in a folder; none where there is no such folder. */
async function* foldersIn(path: string): AsyncGenerator<Dirent> {
  try {
    for await (const entry of await opendir(path, { bufferSize: 256 })) if (entry.isDirectory()) yield entry
  } catch (error) {
    if (!isAbsence(error)) throw error
  }
}

async function readLink(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'latin1')).trim()
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  )
}
