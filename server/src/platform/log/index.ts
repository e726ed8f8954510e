/** Structured logs: one logger for the process, a child for each module. */
import { type DestinationStream, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

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
export function createLogger(options: LogOptions): Logger {
  const settings = {
    level: options.level,
    base: { ...options.fields },
    messageKey: 'msg',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const stream = options.isForCommand === true ? process.stderr : process.stdout
  return options.formatter === 'json' ? pino(settings, stream) : pino(settings, textStream(stream))
}

function textStream({ fd, isTTY }: NodeJS.WriteStream & { fd: number }): DestinationStream {
  return pretty({
    destination: fd,
    colorize: isTTY,
    singleLine: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    sync: true,
  })
}
