import { execFileSync } from 'node:child_process'

/** The first line that a program prints, or undefined when it is not installed. */
export function firstLineOf(file: string, args: readonly string[]): string | undefined {
  return outputOf(file, args)?.split('\n')[0]
}

/** What a program prints, on both channels, or undefined when it is not there. A non-zero exit code does not matter. */
export function outputOf(file: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(
      '/bin/sh',
      ['-c', 'command -v "$0" >/dev/null || exit 127; "$0" "$@" 2>&1 || true', file, ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    ).trim()
  } catch {
    return undefined
  }
}
