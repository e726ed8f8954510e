/** Work that lasts longer than this says how far it is, and then at each interval. */
const PROGRESS_AFTER_MS = 1_000
const PROGRESS_INTERVAL_MS = { terminal: 1_000, file: 10_000 } as const

/** Says on standard error how far work is that lasts. @param describe how far it is now. @returns ends it. */
export function startProgress(describe: () => string): () => void {
  const isTerminal = process.stderr.isTTY
  const interval = isTerminal ? PROGRESS_INTERVAL_MS.terminal : PROGRESS_INTERVAL_MS.file
  const say = () => {
    process.stderr.write(isTerminal ? `\r${describe()} ` : `${describe()}\n`)
    timer = setTimeout(say, interval)
  }
  let timer = setTimeout(say, PROGRESS_AFTER_MS)
  return () => {
    clearTimeout(timer)
    if (isTerminal) process.stderr.write('\r\u{1b}[K')
  }
}
