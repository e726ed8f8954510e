import { relative, resolve } from 'node:path'
import { type Address, type Config, formatAddress } from '@entrepot/server/config'

/** SQLite's result codes (sqlite.org/rescode.html). */
const SQLITE = { busy: 5, corrupt: 11, notADatabase: 26 } as const

/** Says, of an error that stopped the start, which key it is about and what to do. */
export function explainStartError(error: unknown, config: Config): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error
  const code = String(error.code)
  const message =
    explainAddress(error, code, config) ??
    explainDatabase(error, code, config) ??
    explainTls(error, code, config) ??
    explainFolder(error, code, config)
  return message === undefined ? error : new Error(message, { cause: error })
}

function explainAddress(error: Error, code: string, { http }: Config): string | undefined {
  const syscall = textOf(error, 'syscall')
  if (syscall !== 'listen' && syscall !== 'getaddrinfo') return undefined
  const isMeant = (addr: Address): boolean =>
    syscall === 'listen' ? textOf(error, 'port') === String(addr.port) : textOf(error, 'hostname') === addr.host
  const debug = http.debug.addr
  const isDebug = debug !== undefined && isMeant(debug) && !isMeant(http.addr)
  const address = formatAddress(isDebug ? debug : http.addr)
  const setting = isDebug ? '"http.debug.addr" (REGISTRY_HTTP_DEBUG_ADDR)' : '"http.addr" (REGISTRY_HTTP_ADDR)'
  switch (code) {
    case 'EADDRINUSE':
      return `${address} is taken by another program; end that, or set ${setting}`
    case 'EADDRNOTAVAIL':
      return `this machine does not have the address ${address}; set ${setting}`
    case 'EACCES':
    case 'EPERM':
      return `this user may not listen on ${address}; set ${setting} to a port above 1023`
    default:
      return `${address} cannot be listened on (${error.message}); set ${setting}`
  }
}

function explainDatabase(error: Error, code: string, config: Config): string | undefined {
  if (code !== 'ERR_SQLITE_ERROR') return undefined
  const file = `${config.storage.filesystem.rootdirectory}/entrepot.db`
  switch ('errcode' in error ? error.errcode : undefined) {
    case SQLITE.busy:
      return `the database ${file} is in use by another program; end that first`
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return `${file} is damaged, or is no database (${error.message}); put a backup of the data folder in place`
    default:
      return unusable(error.message, config)
  }
}

function explainTls(error: Error, code: string, { http: { tls } }: Config): string | undefined {
  if (tls === undefined) return undefined
  if (/^ERR_(?:OSSL|SSL|TLS)_/.test(code)) {
    return `the certificate, key or ciphers of "http.tls" cannot be used: ${error.message}; check ${tls.certificate} and ${tls.key}`
  }
  const path = textOf(error, 'path')
  const key = tls.certificate === path ? 'certificate' : tls.key === path ? 'key' : 'clientcas'
  if (key === 'clientcas' && !tls.clientcas.some((file) => file === path)) return undefined
  const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${error.message})`
  return `"http.tls.${key}" names ${path}: ${reason}; put the file there, or name another`
}

function explainFolder(error: Error, code: string, config: Config): string | undefined {
  const path = textOf(error, 'path')
  if (path === '') return undefined
  const fromRoot = relative(resolve(config.storage.filesystem.rootdirectory), resolve(path))
  if (fromRoot.startsWith('..') && code !== 'EACCES' && code !== 'EROFS') return undefined
  return unusable(error.message, config)
}

function unusable(reason: string, config: Config): string {
  return (
    `the data folder ${config.storage.filesystem.rootdirectory} cannot be used (${reason}): let this user write there, ` +
    'or set "storage.filesystem.rootdirectory" (REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY)'
  )
}

function textOf(error: Error, key: string): string {
  const value: unknown = Reflect.get(error, key)
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
