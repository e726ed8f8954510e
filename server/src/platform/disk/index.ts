/**
 * The disk that the data folder is on: folders that stay, what tells that something is not there or that there is no room,
 * and the room that is kept for deletions then.
 * It knows nothing of what is stored.
 */
export { ignoreAbsent, isAbsence } from './absence.ts'
export { makeDurableFolder, syncFolder } from './durable-folder.ts'
export { DiskFullError, isDiskFull } from './full-disk.ts'
export { Reserve } from './reserve.ts'
export { withReserve } from './deletions.ts'
