/**
 * The disk that the data folder is on: folders that stay, what tells that it is full, and the room that is kept for
 * deletions then.
 * It knows nothing of what is stored.
 */
export { makeDurableFolder, syncFolder } from './durable-folder.ts'
export { DiskFullError, isDiskFull } from './full-disk.ts'
export { Reserve } from './reserve.ts'
export { withReserve } from './deletions.ts'
