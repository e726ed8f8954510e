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
}

/** The process's logger; it writes to standard output. */
export function createLogger(options: LogOptions): Logger {
  const settings = {
    level: options.level,
    base: { ...options.fields },
    messageKey: 'msg',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return options.formatter === 'json' ? pino(settings) : pino(settings, textStream())
}

function textStream(): DestinationStream {
  return pretty({
    colorize: process.stdout.isTTY,
    singleLine: true,
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
    sync: true,
  })
}
