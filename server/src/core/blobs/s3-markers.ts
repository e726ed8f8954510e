import type { Digest } from '@entrepot/oci'
import type { Bucket, ReadObject } from '#platform/s3'
import { type Marker, markerFolder, parseMarker } from './s3-names.ts'

/** An object that is the content of a digest, with the name that says so. */
export interface NamedObject extends ReadObject {
  readonly marker: Marker
}

/** The names of a digest, the newest first. */
export async function listMarkers(
  bucket: Bucket,
  digest: Digest,
  place: 'digests' | 'quarantine' = 'digests',
): Promise<Marker[]> {
  const listed = await Array.fromAsync(bucket.list(markerFolder(digest, place)))
  return listed
    .toSorted((a, b) => b.modifiedAt - a.modifiedAt || (a.key < b.key ? 1 : -1))
    .map(({ key }) => parseMarker(key))
    .filter((marker) => marker !== undefined)
}

/** Where the content of a digest is: in the newest of its objects that is there in full, if any is. */
export async function findObject(bucket: Bucket, digest: Digest): Promise<NamedObject | undefined> {
  const gone = new Set<string>()
  let markers = await listMarkers(bucket, digest)
  while (markers.length > 0) {
    let inPart: NamedObject | undefined
    for (const marker of markers) {
      const { object: key, sizeBytes } = marker
      const object = await bucket.head(key)
      if (object?.sizeBytes === sizeBytes) return { marker, key, ...object }
      if (object === undefined) gone.add(key)
      else inPart ??= { marker, key, ...object }
    }
    if (inPart !== undefined) return inPart
    // An object goes when the content is stored again: under a name that was not listed yet.
    markers = (await listMarkers(bucket, digest)).filter(({ object }) => !gone.has(object))
  }
  return undefined
}
