/** Whether something failed because there is no such file or folder. */
export function isAbsence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** Undefined for what is not there. @throws every other error. */
export function ignoreAbsent(error: unknown): undefined {
  if (!isAbsence(error)) throw error
}
