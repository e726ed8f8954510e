/** The database cannot do its work now; nothing was acknowledged, and the same may succeed later. */
export class DatabaseUnavailableError extends Error {
  /** Whether it has no room left. */
  readonly isFull: boolean

  constructor(message: string, options: ErrorOptions & { isFull?: boolean } = {}) {
    super(message, options)
    this.name = 'DatabaseUnavailableError'
    this.isFull = options.isFull ?? false
  }
}

/** An error that PostgreSQL itself reported, with its five letters (postgresql.org/docs/15/errcodes-appendix.html). */
export function isPostgresError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'severity' in error && 'code' in error && typeof error.code === 'string'
}

/**
 * What only says that transactions met: serialization failures and deadlocks; a row or a table that another one has made
 * in between; so that the same work, done again, sees it.
 */
const COLLISIONS = new Set(['40001', '40P01', '23505', '23503', '42P07'])

/** Whether a transaction may succeed when it is done again at once. */
export const isCollision = (error: unknown): boolean => isPostgresError(error) && COLLISIONS.has(error.code)

const DISK_FULL = '53100'
/** Classes: the connection, access, resources, an operator's intervention, the system around it. */
const UNAVAILABLE_CLASSES = new Set(['08', '28', '3D', '53', '57', '58'])
/** A database that may only be read, a transaction that took too long, a lock that was not given in time. */
const UNAVAILABLE = new Set(['25006', '25P03', '55P03', '42501'])
/** What a replica answers to a transaction that writes. */
const HOT_STANDBY = 'hot standby'

/** Whether the connection on which this happened is good for nothing more. */
export function isConnectionLost(error: unknown): boolean {
  if (!isPostgresError(error)) return !isMistake(error)
  return ['08', '57', '25'].includes(error.code.slice(0, 2)) || isReplica(error)
}

/**
 * Turns what the client library throws into the one error that means "not now", where it means that; anything else is
 * given back as it is.
 * @param where the server, for the message.
 */
export function toUnavailable(error: unknown, where: string): unknown {
  if (error instanceof DatabaseUnavailableError || isMistake(error)) return error
  const cause = error
  if (!isPostgresError(error)) {
    return new DatabaseUnavailableError(`PostgreSQL at ${where} cannot be reached: ${messageOf(error)}`, { cause })
  }
  const { code, message } = error
  if (UNAVAILABLE_CLASSES.has(code.slice(0, 2)) || UNAVAILABLE.has(code) || isReplica(error)) {
    return new DatabaseUnavailableError(`PostgreSQL at ${where}: ${message} (${code})`, {
      cause,
      isFull: code === DISK_FULL,
    })
  }
  return error
}

function isReplica({ code, message }: { code: string; message: string }): boolean {
  return code === '0A000' && message.includes(HOT_STANDBY)
}

/** A mistake of the program, which no other time makes better. */
function isMistake(error: unknown): boolean {
  return error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError
}

/** Several addresses of one name fail together, with an empty message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}
