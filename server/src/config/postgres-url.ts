import { isIP } from 'node:net'

/** What a URL says of a database. */
export interface PostgresUrl {
  /** A host that begins with a slash is the folder of a unix socket. */
  readonly servers: readonly { readonly host: string; readonly port: number }[]
  readonly user: string | undefined
  readonly password: string | undefined
  readonly database: string | undefined
  readonly sslmode: SslMode
  /** Files in PEM. */
  readonly sslrootcert: string | undefined
  readonly sslcert: string | undefined
  readonly sslkey: string | undefined
}

const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const
type SslMode = (typeof SSL_MODES)[number]

const FORM = 'a URL such as postgres://entrepot:password@db.example.com:5432/entrepot?sslmode=verify-full'
const PARAMETERS = ['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey']
const DEFAULT_PORT = 5432

const URL_PATTERN =
  /^postgres(?:ql)?:\/\/(?:(?<user>[^:@/?#]*)(?::(?<password>[^@/?#]*))?@)?(?<hosts>[^/?#@]*)(?:\/(?<database>[^/?#]*))?(?:\?(?<query>[^#]*))?$/
const HOST_PATTERN = /^(?:\[(?<inBrackets>[\da-fA-F:.]+)\]|(?<name>[^:[\]]*))(?::(?<port>\d{1,5}))?$/

/**
 * Reads the URL of a PostgreSQL database, as libpq does (postgresql.org/docs/15/libpq-connect.html, "Connection URIs"):
 * several hosts are separated by commas.
 * @returns what is expected instead, as text, when it cannot be used.
 */
export function parsePostgresUrl(text: string): PostgresUrl | string {
  const parts = URL_PATTERN.exec(text)?.groups
  if (parts === undefined) return FORM
  const query = new URLSearchParams(parts['query'] ?? '')
  const foreign = [...query.keys()].find((name) => !PARAMETERS.includes(name))
  if (foreign !== undefined)
    return `a URL with no parameters but ${PARAMETERS.join(', ')}; "${foreign}" is none of them`
  const servers = parseHosts(query.get('host') ?? decode(parts['hosts']) ?? '')
  if (servers === undefined) return FORM
  const sslmode = query.get('sslmode') ?? (servers.every(isLocal) ? 'disable' : undefined)
  if (sslmode === undefined) {
    return 'a URL that says with "sslmode" how the connection is protected: verify-full, or disable in a network that you trust'
  }
  if (!isSslMode(sslmode)) return `a URL whose "sslmode" is one of ${SSL_MODES.join(', ')}`
  return {
    servers,
    user: decode(parts['user']),
    password: decode(parts['password']),
    database: decode(parts['database']),
    sslmode,
    sslrootcert: query.get('sslrootcert') ?? undefined,
    sslcert: query.get('sslcert') ?? undefined,
    sslkey: query.get('sslkey') ?? undefined,
  }
}

const isSslMode = (text: string): text is SslMode => SSL_MODES.some((mode) => mode === text)

function isLocal({ host }: { host: string }): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function parseHosts(text: string): PostgresUrl['servers'] | undefined {
  const servers = text.split(',').map((part) => {
    const { inBrackets, name = '', port } = HOST_PATTERN.exec(part)?.groups ?? {}
    const host = inBrackets ?? name
    return { host, port: port === undefined ? DEFAULT_PORT : Number(port) }
  })
  return servers.every(({ host, port }) => host !== '' && port <= 65_535) ? servers : undefined
}

/** Text in which characters stand as %40; undefined when there is none, or it cannot be read. */
function decode(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
