/**
 * Keys of CNCF distribution that this version does not act on. `refused` would change what is protected or stored if it
 * were passed over, so it stops the start; `ignored` is not needed here and only draws a warning.
 * `when` or `value` limits a rule to some values; the others are acted on.
 */
export interface KnownKey {
  readonly path: readonly string[]
  readonly rule: 'refused' | 'ignored'
  readonly reason: string
  readonly when?: (value: unknown) => boolean
  readonly value?: string
}

const NOT_YET = 'is not supported in this version'
const OTHER_STORES = `${NOT_YET}; use "storage.filesystem" or "storage.s3"`
const NO_ACCOUNTS = `${NOT_YET}; there are no accounts yet: listen on loopback, or say in "auth.anonymous" what anyone may do`

const refused = (path: string, reason = `${NOT_YET}; remove it`): KnownKey => ({
  path: path.split('.'),
  rule: 'refused',
  reason,
})
const ignored = (path: string, reason: string): KnownKey => ({ path: path.split('.'), rule: 'ignored', reason })

/** Of two rules for a key, the first that fits holds. */
export const KNOWN_KEYS: readonly KnownKey[] = [
  ...['htpasswd', 'token', 'silly'].map((scheme) => refused(`auth.${scheme}`, NO_ACCOUNTS)),
  ignored('auth.none', '"auth.anonymous" says what anyone may do'),
  ...['gcs', 'azure', 'inmemory', 'oss', 'cos', 'swift', 'rados'].map((driver) =>
    refused(`storage.${driver}`, OTHER_STORES),
  ),
  { ...refused('storage.s3.v4auth', 'requests are always signed with version 4; remove it'), when: isOff },
  ignored('storage.s3.v4auth', 'requests are always signed with version 4'),
  ...['chunksize', 'maxconcurrency', 'thresholdsize'].map((key) =>
    ignored(`storage.s3.multipartcopy${key}`, 'finished blobs are never copied'),
  ),
  ignored('storage.s3.useragent', 'the store sees the name of the client library'),
  ...['loglevel', 'logs3apirequests', 'logs3apiresponseheaders'].map((key) =>
    ignored(`storage.s3.${key}`, 'what the store refuses is logged in any case'),
  ),
  refused('proxy'),
  refused('notifications'),
  refused('middleware.registry'),
  refused('middleware.repository'),
  refused('policy'),
  refused('http.tls.letsencrypt', `${NOT_YET}; set "http.tls.certificate" and "http.tls.key"`),
  { ...refused('http.h2c', `${NOT_YET}; HTTP/2 is spoken over TLS`), when: isEnabled },
  ignored('http.h2c', 'HTTP/2 without TLS is never spoken'),
  { ...refused('http.net', `${NOT_YET}; listen on a port, with "tcp"`), value: 'unix' },
  ...['request-client-cert', 'require-any-client-cert', 'verify-client-cert-if-given'].map((value) => ({
    ...refused('http.tls.clientauth', `${NOT_YET}; with "http.tls.clientcas" every client must show a verified one`),
    value,
  })),
  ignored('storage.cache', 'metadata is in the database, which needs no cache beside it'),
  ignored('storage.tag', 'tags are in the database; looking them up needs no limit'),
  ignored('storage.filesystem.maxthreads', 'the runtime shares its threads by itself'),
  ignored('http.secret', 'uploads are kept in the database, so that nothing needs to be signed'),
  ignored('redis', 'nothing is cached outside the process'),
  ignored('log.hooks', 'send the log where it is wanted with the tools that run the service'),
  ignored('log.reportcaller', 'each line names its module'),
  ignored('loglevel', 'set "log.level" instead'),
  ignored('reporting', 'no external reporting is built in'),
  ignored('compatibility', 'schema 1 is always refused'),
]

function isOff(value: unknown): boolean {
  return value === false
}

function isEnabled(value: unknown): boolean {
  return typeof value !== 'object' || value === null || Reflect.get(value, 'enabled') !== false
}
