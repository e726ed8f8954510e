/** How much an import has done, or would do. */
export class ImportCounts {
  repositories = 0
  blobs = 0
  manifests = 0
  tags = 0
  /** Contents that became further names of the files that they were in. */
  linked = 0
  /** Contents that were copied. */
  copied = 0
  /** Contents that were there before. */
  present = 0
  /** Bytes of what was linked or copied; in a dry run of all that was read. */
  bytes = 0
  /** What is not imported, each of which was told of. */
  skipped = 0
}
