/** Structured logs: one logger for the process, a child for each module. */
import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

type OutputStream = NodeJS.WriteStream & { fd: number }

export interface LogOptions {
  readonly level: 'error' | 'warn' | 'info' | 'debug'
  /** `json` for machines, `text` for people. */
  readonly formatter: 'text' | 'json'
  /** Fields added to every line. */
  readonly fields: Readonly<Record<string, unknown>>
}

/** The logger of a server, which writes to standard output. */
export async function createLogger(options: LogOptions): Promise<Logger> {
  return createLoggerTo(process.stdout, options)
}

/** The logger of a command that does its work itself: warnings on standard error, for standard output is the command's. */
export async function createCommandLogger(): Promise<Logger> {
  return createLoggerTo(process.stderr, { level: 'warn', formatter: 'text', fields: {} })
}

async function createLoggerTo(stream: OutputStream, options: LogOptions): Promise<Logger> {
  const settings = {
    level: options.level,
    base: { ...options.fields },
    messageKey: 'msg',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return options.formatter === 'json' ? pino(settings, stream) : pino(settings, await textStream(stream))
}

async function textStream({ fd, isTTY }: OutputStream): Promise<DestinationStream> {
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
