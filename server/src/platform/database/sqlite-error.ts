/** Whether an error is SQLite's own; its result code says what is wrong (sqlite.org/rescode.html). */
export function isSqliteError(error: unknown): error is Error & { readonly errcode: number } {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number'
}
