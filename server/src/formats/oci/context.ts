import type { FastifyRequest, RouteOptions } from 'fastify'
import type { Access } from '#core/access'
import type { Uploads } from '#core/blobs'
import type { BlobRedirects, CacheHeaders, UrlSigner } from '#core/cdn'
import type { BodyLimits, ContentSender } from '#platform/http'
import type { ManifestReader } from './manifest-reader.ts'
import type { ManifestDeletion } from './manifest-deletion.ts'
import type { ManifestDependencies } from './manifests.ts'
import { type Links, repositoryOf } from './paths.ts'
import type { BlobReader } from './repository-blobs.ts'

/** How large a client may make things. */
export interface OciLimits extends BodyLimits {
  readonly manifestBytes: number
  readonly tagsPerPush: number
  /** The smallest chunk that clients are asked for; undefined asks for nothing. */
  readonly chunkBytes: number | undefined
  /** Entries of one page of tags or referrers. */
  readonly pageSize: number
  /** Entries of one page of the catalog. */
  readonly catalogPageSize: number
}

/** What the endpoints of the registry work with. */
export interface OciContext extends ManifestDependencies {
  readonly deletion: ManifestDeletion
  readonly access: Access
  readonly uploads: Uploads
  readonly manifestReader: ManifestReader
  readonly blobReader: BlobReader
  readonly sender: ContentSender
  readonly links: Links
  readonly limits: OciLimits
  readonly delivery: Delivery
}

/** What stands between clients and the registry. */
export interface Delivery {
  /** Undefined where there is no CDN. */
  readonly cacheHeaders: CacheHeaders | undefined
  /** Undefined where every blob is served from here. */
  readonly redirects: BlobRedirects | undefined
  /** What has signed the URLs that a CDN asks for; undefined where they are not signed. */
  readonly signer: UrlSigner | undefined
}

/** One endpoint; its right is declared beside its URL. */
export type OciRoute = (context: OciContext) => RouteOptions

/** The repository in the URL. @throws RegistryError NAME_INVALID */
export function requestedRepository(request: FastifyRequest): string {
  const name = repositoryOf(request.params)
  if (name === undefined) throw new Error(`the route ${request.routeOptions.url} names no repository`)
  return name
}

/** A parameter of the URL's path. */
export function pathParameter(request: FastifyRequest, name: string): string {
  const { params } = request
  const value: unknown = typeof params === 'object' && params !== null ? Reflect.get(params, name) : undefined
  return typeof value === 'string' ? value : ''
}
