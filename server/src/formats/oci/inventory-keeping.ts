import type { Digest } from '@entrepot/oci'
import { type Finding, finding } from '#core/findings'
import type { Inventory } from '#core/inventory'
import { findRepositoryId, listRepositoryNames } from '#core/repositories'
import type { Connection } from '#platform/database'
import type { Logger } from '#platform/log'
import { findManifests, listManifestDigests } from './manifest-rows.ts'
import { findTags, listTagNames } from './tag-rows.ts'

const PAGE_SIZE = 500
/** What is written at once. */
const WIDTH = 16

/** Manifests and tags of one repository. */
export interface InventorySubjects {
  readonly manifests: readonly Digest[]
  readonly tags: readonly string[]
}

/** What the database says of them: the manifests that are there, and what the tags stand for. */
interface State {
  readonly manifests: ReadonlySet<Digest>
  readonly tags: ReadonlyMap<string, Digest>
}

/** Lets the inventory follow the database. */
export class InventoryKeeper {
  readonly #read: Connection
  readonly #inventory: Inventory
  readonly #log: Logger
  #isBehind = false

  constructor(dependencies: { read: Connection; inventory: Inventory; log: Logger }) {
    this.#read = dependencies.read
    this.#inventory = dependencies.inventory
    this.#log = dependencies.log
  }

  /**
   * Brings entries to what the database says now. Others may do so at the same time: whoever has written looks once more,
   * so that the last state stays.
   * @throws the store's error
   */
  async settle(repository: string, subjects: InventorySubjects): Promise<void> {
    let before = ''
    try {
      for (;;) {
        const state = await findState(this.#read, repository, subjects)
        const text = JSON.stringify([[...state.manifests], [...state.tags]])
        if (text === before) return
        await this.#write(repository, subjects, state)
        before = text
      }
    } catch (error) {
      this.#isBehind = true
      throw error
    }
  }

  /** Whether entries could not be written since the last sweep. */
  get isBehind(): boolean {
    return this.#isBehind
  }

  /** The same for what is gone: when the store fails, that is left to the next sweep. */
  async forget(repository: string, subjects: InventorySubjects): Promise<void> {
    await this.settle(repository, subjects).catch((error: unknown) => {
      this.#log.warn({ err: error, repository }, 'the inventory still has what was deleted: the next sweep removes it')
    })
  }

  /**
   * Compares everything, and brings to what the database says what differs: after a crash between a commit and its
   * entries, and where there was no inventory before.
   * @param isEnding asked now and then whether to stop early.
   * @returns how many entries were brought up to date.
   */
  async sweep(isEnding: () => boolean): Promise<number> {
    let settled = 0
    this.#isBehind = false
    try {
      for await (const { repository, ...subjects } of findDifferences(this.#read, this.#inventory)) {
        if (isEnding()) break
        await this.settle(repository, subjects)
        settled += subjects.manifests.length + subjects.tags.length
      }
    } catch (error) {
      this.#isBehind = true
      throw error
    }
    if (settled > 0) this.#log.info({ count: settled }, 'the inventory was brought up to date')
    return settled
  }

  async #write(repository: string, { manifests, tags }: InventorySubjects, state: State): Promise<void> {
    const inventory = this.#inventory
    await inTurns(manifests, async (digest) => inventory.setManifest(repository, digest, state.manifests.has(digest)))
    await inTurns(tags, async (tag) => inventory.setTag(repository, tag, state.tags.get(tag)))
  }
}

/** Tells where the inventory says something else than the database, on which nobody works. */
export async function* checkInventory(read: Connection, inventory: Inventory): AsyncGenerator<Finding> {
  for await (const { repository, manifests, tags } of findDifferences(read, inventory)) {
    const sum = `${manifests.length} manifests and ${tags.length} tags`
    const message = `the inventory in the store says something else of ${sum}: the next start of the server corrects it`
    yield finding('inventory-wrong', message, { repository })
  }
}

/** Of what the inventory says something else than the database, up to a page of one repository at a time. */
async function* findDifferences(
  read: Connection,
  inventory: Inventory,
): AsyncGenerator<InventorySubjects & { readonly repository: string }> {
  let after = ''
  for (;;) {
    const names = await listRepositoryNames(read, after, PAGE_SIZE)
    for (const repository of names) yield* findMissing(read, inventory, repository)
    const last = names.at(-1)
    if (last === undefined) break
    after = last
  }
  let page: { repository: string; manifests: Digest[]; tags: Map<string, Digest> } | undefined
  for await (const { repository, digest, tag } of inventory.entries()) {
    if (page !== undefined && (page.repository !== repository || page.manifests.length + page.tags.size >= PAGE_SIZE)) {
      yield* findSuperfluous(read, page)
      page = undefined
    }
    page ??= { repository, manifests: [], tags: new Map() }
    if (tag === undefined) page.manifests.push(digest)
    // Of a tag with two names one is superfluous.
    else if (page.tags.has(tag)) yield { repository, manifests: [], tags: [tag] }
    else page.tags.set(tag, digest)
  }
  if (page !== undefined) yield* findSuperfluous(read, page)
}

/** What a repository has and the inventory does not: the entries of one repository are held in memory. */
async function* findMissing(read: Connection, inventory: Inventory, repository: string) {
  const repositoryId = await findRepositoryId(read, repository)
  if (repositoryId === undefined) return
  const known = new Set<string>()
  for await (const { digest, tag } of inventory.entries(repository)) known.add(entryOf(digest, tag))
  for (let after = ''; ;) {
    const digests = await listManifestDigests(read, repositoryId, after, PAGE_SIZE)
    const manifests = digests.filter((digest) => !known.has(entryOf(digest, undefined)))
    if (manifests.length > 0) yield { repository, manifests, tags: [] }
    const last = digests.at(-1)
    if (last === undefined) break
    after = last
  }
  for (let after = ''; ;) {
    const names = await listTagNames(read, repository, after, PAGE_SIZE)
    const state = await findTags(read, repositoryId, names)
    const tags = names.filter((name) => !known.has(entryOf(state.get(name), name)))
    if (tags.length > 0) yield { repository, manifests: [], tags }
    const last = names.at(-1)
    if (last === undefined) break
    after = last
  }
}

/** What the inventory has of a repository, and that repository does not. */
async function* findSuperfluous(
  read: Connection,
  page: { repository: string; manifests: Digest[]; tags: ReadonlyMap<string, Digest> },
) {
  const { repository } = page
  const state = await findState(read, repository, { manifests: page.manifests, tags: [...page.tags.keys()] })
  const manifests = page.manifests.filter((digest) => !state.manifests.has(digest))
  const tags = [...page.tags].filter(([tag, digest]) => state.tags.get(tag) !== digest).map(([tag]) => tag)
  if (manifests.length + tags.length > 0) yield { repository, manifests, tags }
}

async function findState(read: Connection, repository: string, { manifests, tags }: InventorySubjects): Promise<State> {
  const repositoryId = await findRepositoryId(read, repository)
  if (repositoryId === undefined) return { manifests: new Set(), tags: new Map() }
  return {
    manifests: new Set((await findManifests(read, repositoryId, manifests)).keys()),
    tags: await findTags(read, repositoryId, tags),
  }
}

const entryOf = (digest: Digest | undefined, tag: string | undefined) => `${digest} ${tag ?? ''}`

/** Does work on items, some at once. */
async function inTurns<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += WIDTH) {
    await Promise.all(items.slice(start, start + WIDTH).map(work))
  }
}
