import { type Digest, digestAlgorithm, digestHex } from '@entrepot/oci'

/** So many digits hold every size that there is, so that keys in order are segments in order. */
const OFFSET_DIGITS = 16
const SEGMENT = /^uploads\/([^/]+)\/(\d{16})-(\d+)-([^/]+)$/
const MARKER = /^(?:digests|quarantine)\/[^/]+\/[^/]+\/(\d+)-([^/]+)$/

/** A piece of an upload, as its name tells it. */
export interface Segment {
  readonly name: string
  readonly uploadId: string
  readonly offset: number
  readonly sizeBytes: number
  /** The key of its bytes. */
  readonly object: string
}

/** What says that an object is the content of a digest. */
export interface Marker {
  readonly name: string
  readonly sizeBytes: number
  readonly object: string
}

/** The key of an object's bytes. */
export const objectKey = (objectId: string): string => `objects/${objectId}`

/** What the keys of looks whether the store works begin with. */
export const checkFolder = 'checks/'

/** What the names of an upload's segments begin with. */
export const uploadFolder = (id: string): string => `uploads/${id}/`

/** The name that says which bytes an upload has at an offset. */
export function segmentName(segment: {
  uploadId: string
  offset: number
  sizeBytes: number
  objectId: string
}): string {
  const { uploadId, offset, sizeBytes, objectId } = segment
  return `${uploadFolder(uploadId)}${String(offset).padStart(OFFSET_DIGITS, '0')}-${sizeBytes}-${objectId}`
}

/** Undefined for a key that names no segment. */
export function parseSegment(name: string): Segment | undefined {
  const [, uploadId, offset, sizeBytes, objectId] = SEGMENT.exec(name) ?? []
  if (uploadId === undefined || objectId === undefined) return undefined
  return { name, uploadId, offset: Number(offset), sizeBytes: Number(sizeBytes), object: objectKey(objectId) }
}

/** What the names of a digest's markers begin with. */
export function markerFolder(digest: Digest, place: 'digests' | 'quarantine' = 'digests'): string {
  return `${place}/${digestAlgorithm(digest)}/${digestHex(digest)}/`
}

/** The end of a marker's name: how many bytes there are, and in which object. */
export const markerTail = (sizeBytes: number, objectId: string): string => `${sizeBytes}-${objectId}`

/** Undefined for a key that is no marker. */
export function parseMarker(name: string): Marker | undefined {
  const [, sizeBytes, objectId] = MARKER.exec(name) ?? []
  return objectId === undefined ? undefined : { name, sizeBytes: Number(sizeBytes), object: objectKey(objectId) }
}
