/** Structured logs: one logger for the process, a child for each module. */
import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  /** `json` for machines, `text` for people. */
  readonly formatter: 'text' | 'json'
  /** Fields added to every line. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Writes to standard error, for standard output is the command's. */
  readonly isForCommand?: boolean
}

/** The process's logger; a server's writes to standard output. */
export async function createLogger(options: LogOptions): Promise<Logger> {
  const settings = {
    level: options.level,
    base: { ...options.fields },
    messageKey: 'msg',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const stream = options.isForCommand === true ? process.stderr : process.stdout
  return options.formatter === 'json' ? pino(settings, stream) : pino(settings, await textStream(stream))
}

async function textStream({ fd, isTTY }: NodeJS.WriteStream & { fd: number }): Promise<DestinationStream> {
  // Only where a person reads: a start with JSON need not wait for it.
  const { default: pretty } = await import('pino-pretty')
  return pretty({
    destination: fd,
    colorize: isTTY,
    singleLine: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    sync: true,
  })
}
