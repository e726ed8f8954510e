import { type Digest, parseDigest, RegistryError } from '@entrepot/oci'
import type { FastifyRequest } from 'fastify'

/** All values of a query parameter, in order; none when it is absent. */
export function queryValues(request: FastifyRequest, name: string): readonly string[] {
  const { query } = request
  if (typeof query !== 'object' || query === null || !Object.hasOwn(query, name)) return []
  const value: unknown = Object.entries(query).find(([key]) => key === name)?.[1]
  return (Array.isArray(value) ? value : [value]).map(String)
}

/** The first value of a query parameter. */
export function queryValue(request: FastifyRequest, name: string): string | undefined {
  return queryValues(request, name)[0]
}

/** A digest in the query. @throws RegistryError DIGEST_INVALID when it is absent or malformed. */
export function queryDigest(request: FastifyRequest, name: string): Digest {
  const text = queryValue(request, name)
  if (text === undefined) throw new RegistryError('DIGEST_INVALID', `the query parameter "${name}" is missing`)
  return parseDigest(text)
}

/** Which part of a list is asked for. */
export interface Page {
  /** The entry before the first one. */
  readonly after: string
  /** Undefined when all are asked for. */
  readonly limit: number | undefined
}

const WHOLE_NUMBER = /^\d{1,15}$/

/**
 * Reads `n` and `last` (distribution-spec, "Listing Tags").
 * @throws RegistryError PAGINATION_NUMBER_INVALID
 */
export function parsePage(request: FastifyRequest): Page {
  const n = queryValue(request, 'n')
  const after = queryValue(request, 'last') ?? ''
  if (n === undefined) return { after, limit: undefined }
  if (!WHOLE_NUMBER.test(n)) {
    throw new RegistryError('PAGINATION_NUMBER_INVALID', '"n" must be a whole number, 0 or more', {
      detail: { n: n.slice(0, 100) },
    })
  }
  return { after, limit: Number(n) }
}
