/**
 * A bucket of a store that speaks S3: objects are written, read, listed and deleted by key, with deadlines and retries.
 * It knows nothing of what the objects are for.
 */
export { Bucket, type ObjectInfo, type S3Options } from './bucket.ts'
export { ObjectStoreError } from './bucket-error.ts'
export { composeObject } from './object-composer.ts'
export { ObjectReader, type ReadObject } from './object-reader.ts'
export { ObjectWriter, PartBudget } from './object-writer.ts'
export { readObject } from './read-object.ts'
