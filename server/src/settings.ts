import { resolve } from 'node:path'
import type { AccessOptions } from '#core/access'
import type { BlobStore, ContentPolicy } from '#core/blobs'
import type { ManifestPolicy, OciLimits, OciMaintenance } from '#formats/oci'
import { fileCheck, type HealthCheck, httpCheck, tcpCheck } from '#platform/health'
import type { PostgresOptions } from '#platform/database'
import type { HttpServerOptions } from '#platform/http'
import type { S3Options } from '#platform/s3'
import { socketIn } from '#management'
import type { DistributionStorage } from '#transfer'
import { type Address, type Config, parsePostgresUrl, readDistributionStorage } from './config/index.ts'

/** Without a host, every address of the machine is meant. */
function withHost({ host, port }: Address): Address {
  return { host: host === '' ? '::' : host, port }
}

/** How the main listener behaves. */
export function httpServerOptions(config: Config): HttpServerOptions {
  const { http, limits } = config
  return {
    ...withHost(http.addr),
    tls:
      http.tls === undefined
        ? undefined
        : {
            certificate: http.tls.certificate,
            key: http.tls.key,
            clientCas: http.tls.clientcas,
            minimumVersion: http.tls.minimumtls === 'tls1.3' ? 'TLSv1.3' : 'TLSv1.2',
            cipherSuites: http.tls.ciphersuites,
          },
    isHttp2Enabled: !http.http2.disabled,
    headers: http.headers,
    headerTimeoutMs: limits.headertimeout,
    keepAliveTimeoutMs: limits.keepalivetimeout,
    idleTimeoutMs: limits.bodyidletimeout,
    isAccessLogged: !config.log.accesslog.disabled,
  }
}

/** The listener for operators: plain HTTP, without the registry. */
export function debugServerOptions(config: Config, address: Address): HttpServerOptions {
  return { ...httpServerOptions(config), ...withHost(address), tls: undefined, isAccessLogged: false }
}

/** The listener for the command line: whoever reaches the socket owns the folder, and some requests take hours. */
export function managementServerOptions(config: Config, socketPath: string): HttpServerOptions {
  const plain = { ...httpServerOptions(config), tls: undefined, headers: {} }
  return { ...plain, socketPath, idleTimeoutMs: 0, isAccessLogged: false }
}

/** The regular looks that `health` asks for. */
export function healthChecks(config: Config, store: BlobStore): HealthCheck[] {
  const { storagedriver, file, http, tcp } = config.health
  const checks: HealthCheck[] = []
  if (storagedriver.enabled) {
    checks.push({
      name: 'storage',
      intervalMs: storagedriver.interval,
      threshold: storagedriver.threshold,
      check: async () => store.check(),
    })
  }
  for (const check of file) {
    checks.push(fileCheck({ file: check.file, intervalMs: check.interval, threshold: check.threshold }))
  }
  for (const check of http) {
    checks.push(
      httpCheck({
        uri: check.uri,
        statusCode: check.statuscode,
        headers: Object.fromEntries(Object.entries(check.headers).map(([name, values]) => [name, values.join(', ')])),
        timeoutMs: check.timeout,
        intervalMs: check.interval,
        threshold: check.threshold,
      }),
    )
  }
  for (const check of tcp) {
    checks.push(
      tcpCheck({
        ...withHost(check.addr),
        timeoutMs: check.timeout,
        intervalMs: check.interval,
        threshold: check.threshold,
      }),
    )
  }
  return checks
}

/** What is done about content that may be damaged. In read-only mode nothing in the folder is moved. */
export function contentPolicy(config: Config, onDamage: () => void): ContentPolicy {
  const { verification, maintenance } = config.storage
  return {
    verifiesReads: verification.reads === 'first',
    verificationAgeMs: verification.age,
    quarantines: !maintenance.readonly.enabled,
    onDamage,
  }
}

/** What callers are allowed to do. */
export function accessOptions(config: Config): AccessOptions {
  return {
    anonymousActions: config.auth.anonymous,
    isReadOnly: config.storage.maintenance.readonly.enabled,
    isDeleteEnabled: config.storage.delete.enabled,
  }
}

/** How large clients may make things. */
export function ociLimits(config: Config): OciLimits {
  return {
    manifestBytes: config.limits.manifestsize,
    tagsPerPush: config.limits.tagsperpush,
    chunkBytes: config.limits.chunksize,
    pageSize: config.limits.pagesize,
    catalogPageSize: config.catalog.maxentries,
    idleTimeoutMs: config.limits.bodyidletimeout,
  }
}

/** What `validation` asks of manifests. */
export function manifestPolicy(config: Config): ManifestPolicy {
  const { enabled, disabled, manifests } = config.validation
  const { urls, indexes } = manifests
  // As in distribution, "enabled: true" outweighs "disabled: true", and "enabled: false" alone says nothing.
  const isOff = disabled && enabled !== true
  const hasUrlRules = !isOff && (urls.allow.length > 0 || urls.deny.length > 0)
  return {
    urls: hasUrlRules ? urls : undefined,
    requiresIndexChild: (platform) => {
      if (isOff || indexes.platforms === 'none') return false
      if (indexes.platforms === 'all') return true
      return indexes.platformlist.some(
        (wanted) => wanted.os === platform?.os && wanted.architecture === platform.architecture,
      )
    },
  }
}

/** What `storage.maintenance` says of deleted manifests, and of those without a tag. */
export function ociMaintenance(config: Config): OciMaintenance {
  const { trash, untagged } = config.storage.maintenance
  return {
    trashAgeMs: trash.age,
    untagged: untagged.enabled ? { ageMs: untagged.age, isDryRun: untagged.dryrun } : undefined,
  }
}

/** Where a server that works in the configured data folder answers commands. */
export function socketPath(config: Config): string {
  return socketIn(resolve(config.storage.filesystem.rootdirectory))
}

/** The PostgreSQL database that `database` names; undefined where metadata is in the data folder. */
export function postgresOptions(config: Config): PostgresOptions | undefined {
  const { url, connections, statementtimeout, locktimeout } = config.database
  const parsed = url === undefined ? undefined : parsePostgresUrl(url)
  // The schema has refused a URL that cannot be read.
  if (parsed === undefined || typeof parsed === 'string') return undefined
  const { servers, user, password, database, sslmode, sslrootcert, sslcert, sslkey } = parsed
  return {
    servers,
    user,
    password,
    database,
    tls:
      sslmode === 'disable'
        ? undefined
        : { mode: sslmode, authorities: sslrootcert, certificate: sslcert, key: sslkey },
    connections,
    statementTimeoutMs: statementtimeout,
    lockTimeoutMs: locktimeout,
  }
}

/** The bucket that `storage.s3` names; undefined where blobs are in the data folder. */
export function s3Options(config: Config): S3Options | undefined {
  const { s3 } = config.storage
  return s3 && bucketOptions(s3)
}

/** Where a registry of CNCF distribution keeps everything, as its configuration says. @throws Error */
export function distributionStorage(file: string): DistributionStorage {
  const storage = readDistributionStorage(file)
  return 'folder' in storage ? storage : { bucket: bucketOptions(storage.s3) }
}

function bucketOptions(s3: NonNullable<Config['storage']['s3']>): S3Options {
  const { accesskey = '', secretkey = '', sessiontoken = '', regionendpoint: endpoint, keyid = '' } = s3
  const folder = s3.rootdirectory.replaceAll(/^\/+|\/+$/g, '')
  const token = sessiontoken === '' ? {} : { sessionToken: sessiontoken }
  return {
    bucket: s3.bucket,
    region: s3.region,
    endpoint:
      endpoint === undefined || endpoint.includes('://') ? endpoint : `http${s3.secure ? 's' : ''}://${endpoint}`,
    isPathStyle: s3.forcepathstyle ?? endpoint !== undefined,
    credentials: accesskey === '' ? undefined : { accessKeyId: accesskey, secretAccessKey: secretkey, ...token },
    isUnverified: s3.skipverify,
    isDualStack: s3.usedualstack,
    isAccelerated: s3.accelerate,
    prefix: folder === '' ? '' : `${folder}/`,
    partBytes: s3.chunksize,
    storageClass: s3.storageclass,
    acl: s3.objectacl,
    settings: 'configuration',
    encryption: s3.encrypt ? { keyId: keyid === '' ? undefined : keyid } : undefined,
  }
}
