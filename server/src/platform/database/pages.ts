/**
 * Every page of a list of rows that goes on after the last row of the page before: what is written meanwhile moves
 * nothing, and memory holds one page.
 */
export async function* pagesOf<Row extends { readonly rowid: number }>(
  list: (after: number) => Promise<Row[]>,
): AsyncGenerator<Row[]> {
  let after = Number.MIN_SAFE_INTEGER
  for (;;) {
    const page = await list(after)
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = last.rowid
  }
}
