/**
 * The time by which the age of things is counted, in milliseconds since 1970: the machine's clock when this process
 * began, and what has passed since. A clock that is set while the process runs, forwards or backwards, makes nothing
 * older or younger.
 */
export function steadyNow(): number {
  return Math.floor(performance.timeOrigin + performance.now())
}

/**
 * The earlier of that time and the machine's clock, to compare with what the file system has stamped by the machine's
 * clock: one that is set must not make look old what was written just now.
 */
export function earlierNow(): number {
  return Math.min(Date.now(), steadyNow())
}
