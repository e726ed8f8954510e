import {
  type Descriptor,
  type Digest,
  isDigest,
  isForeignLayerType,
  isIndexType,
  type Manifest,
  RegistryError,
} from '@entrepot/oci'
import type { Blobs } from '#core/blobs'
import type { RepositoryId } from '#core/repositories'
import type { Connection } from '#platform/database'
import { findManifests } from './manifest-rows.ts'

/** An index of indexes of … deeper than this is refused: whoever walks over it pays for each level. */
const MAX_NESTING = 8
/** An error names so many of what is missing. */
const MAX_NAMED = 20

/** What a registry asks of manifests beyond the specification. */
export interface ManifestPolicy {
  /**
   * URLs that layers kept elsewhere may name: what `allow` matches, or all where it is empty, but nothing that `deny`
   * matches. Undefined allows all.
   */
  readonly urls: { readonly allow: readonly RegExp[]; readonly deny: readonly RegExp[] } | undefined
  /** Which children of an index must be there when it is pushed. */
  readonly requiresIndexChild: (platform: Descriptor['platform']) => boolean
}

/** What is known of a manifest once its children were looked at. */
export interface CheckedChildren {
  readonly digests: readonly Digest[]
  readonly nesting: number
  /** How many of its children are allowed to be absent, and are. */
  readonly absent: number
}

/**
 * Checks that URLs in descriptors are allowed (CNCF distribution's `validation.manifests.urls`).
 * @throws RegistryError MANIFEST_INVALID
 */
export function checkUrls(manifest: Manifest, policy: ManifestPolicy): void {
  const { urls } = policy
  if (urls === undefined || manifest.kind === 'index') return
  for (const url of manifest.layers.flatMap((layer) => layer.urls)) {
    const isAllowed = urls.allow.length === 0 || urls.allow.some((pattern) => pattern.test(url))
    if (isAllowed && isOfTheWeb(url) && !urls.deny.some((pattern) => pattern.test(url))) continue
    throw new RegistryError(
      'MANIFEST_INVALID',
      'the manifest is invalid: a layer names a URL that "validation.manifests.urls" does not allow',
      { detail: { url } },
    )
  }
}

/** Rules are about what clients could fetch: no other protocols, and no fragments, as in distribution. */
function isOfTheWeb(url: string): boolean {
  const parsed = URL.parse(url)
  return parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.hash === ''
}

/**
 * Checks that all a manifest needs is in its repository, in the size that it says.
 * Layers that may be kept elsewhere need not be there, nor need the subject.
 * @param repositoryId undefined for a repository that does not exist yet: it has nothing.
 * @throws RegistryError MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID
 */
export async function checkChildren(
  where: { connection: Connection; blobs: Pick<Blobs, 'sizes'>; repositoryId: RepositoryId | undefined },
  manifest: Manifest,
  policy: ManifestPolicy,
): Promise<CheckedChildren> {
  const { connection, blobs, repositoryId } = where
  const digests = childDigests(manifest)
  const blobSizes = repositoryId === undefined ? new Map() : await blobs.sizes(connection, repositoryId, digests)
  const manifests =
    repositoryId === undefined || manifest.kind === 'image'
      ? new Map()
      : await findManifests(connection, repositoryId, digests)
  return judgeChildren(manifest, policy, { blobSizes, manifests })
}

/** What a repository has of the children of a manifest. */
export interface KnownChildren {
  /** In bytes. */
  readonly blobSizes: ReadonlyMap<string, number>
  readonly manifests: ReadonlyMap<string, { readonly sizeBytes: number; readonly nesting: number }>
}

/** The digests of what a manifest lists, each once. */
export function childDigests(manifest: Manifest): Digest[] {
  const descriptors = childrenOf(manifest)
  return [...new Set(descriptors.map((descriptor) => descriptor.digest).filter((digest) => isDigest(digest)))]
}

function childrenOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers]
}

/** As `checkChildren`, of what is known already. @throws RegistryError MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID */
export function judgeChildren(manifest: Manifest, policy: ManifestPolicy, known: KnownChildren): CheckedChildren {
  const { blobSizes, manifests } = known
  const missing: Descriptor[] = []
  let absent = 0
  let nesting = manifest.kind === 'index' ? 1 : 0
  for (const descriptor of childrenOf(manifest)) {
    const child = manifests.get(descriptor.digest)
    // An index may also list blobs, as BuildKit's cache does.
    const storedBytes = child?.sizeBytes ?? blobSizes.get(descriptor.digest)
    if (storedBytes === undefined) {
      if (isRequired(manifest, descriptor, policy)) missing.push(descriptor)
      else absent++
    } else if (storedBytes !== descriptor.size) {
      throw wrongSize(descriptor, storedBytes)
    }
    if (child !== undefined) nesting = Math.max(nesting, child.nesting + 1)
  }
  if (missing.length > 0) throw childrenUnknown(missing)
  if (nesting > MAX_NESTING) {
    throw new RegistryError(
      'MANIFEST_INVALID',
      `the manifest is invalid: it is an index over more than ${MAX_NESTING} levels`,
    )
  }
  return { digests: childDigests(manifest), nesting, absent }
}

/** Whether what a manifest lists must be in its repository. */
export function isRequired(manifest: Manifest, descriptor: Descriptor, policy: ManifestPolicy): boolean {
  if (manifest.kind === 'image') return !isForeignLayerType(descriptor.mediaType)
  return isIndexType(descriptor.mediaType) || policy.requiresIndexChild(descriptor.platform)
}

function wrongSize(descriptor: Descriptor, storedBytes: number): RegistryError {
  return new RegistryError(
    'MANIFEST_INVALID',
    `the manifest is invalid: it says that ${descriptor.digest} has ${descriptor.size} bytes, but it has ${storedBytes}`,
    { detail: { digest: descriptor.digest, size: storedBytes } },
  )
}

function childrenUnknown(missing: readonly Descriptor[]): RegistryError {
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : ''
  const digests = missing.slice(0, MAX_NAMED).map((descriptor) => descriptor.digest)
  return new RegistryError(
    'MANIFEST_BLOB_UNKNOWN',
    `the repository does not have ${digests.join(', ')}${more}; push that first`,
    { detail: { digests } },
  )
}
