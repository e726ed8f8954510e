import { readFile } from 'node:fs/promises'
import { unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls'
import type { Logger } from '#platform/log'

const WATCH_INTERVAL_MS = 2_000

export interface TlsOptions {
  /** Files in PEM form. */
  readonly certificate: string
  readonly key: string
  /** Authorities whose client certificates are accepted; with any, a client must show one. */
  readonly clientCas: readonly string[]
  readonly minimumVersion: 'TLSv1.2' | 'TLSv1.3'
  /** Names of OpenSSL, of the RFCs or of Go; empty means Node.js's defaults. */
  readonly cipherSuites: readonly string[]
}

/** Reads certificate and key; throws when they are missing or do not belong together. */
export async function loadTls(options: TlsOptions): Promise<SecureContextOptions & { requestCert: boolean }> {
  const [cert, key, ...ca] = await Promise.all(
    [options.certificate, options.key, ...options.clientCas].map(async (path) => readFile(path)),
  )
  const context = {
    cert,
    key,
    minVersion: options.minimumVersion,
    requestCert: ca.length > 0,
    ...(ca.length > 0 ? { ca } : {}),
    ...(options.cipherSuites.length > 0 ? { ciphers: cipherList(options.cipherSuites) } : {}),
  }
  createSecureContext(context)
  return context
}

/** Those of TLS 1.3, which Go never leaves out. */
const TLS13_SUITES = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256']

/** Node.js takes every name that begins with `TLS_` for one of TLS 1.3, and leaves out a version that has none. */
function cipherList(names: readonly string[]): string {
  const list = names.map(opensslName)
  return [...list, ...(list.some((name) => name.startsWith('TLS_')) ? [] : TLS13_SUITES)].join(':')
}

/** `ECDHE-RSA-AES256-GCM-SHA384` for `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`; any other name stays as it is. */
function opensslName(name: string): string {
  const [, exchange, cipher] = /^TLS_(\w+)_WITH_(\w+)$/.exec(name) ?? []
  if (exchange === undefined || cipher === undefined) return name
  const short = cipher.replace('AES_', 'AES').replace('_CBC', '').replace('POLY1305_SHA256', 'POLY1305')
  return (exchange === 'RSA' ? short : `${exchange}_${short}`).replaceAll('_', '-')
}

/**
 * Takes up a new certificate when its files change, without a restart; a pair that does not fit is refused and the old
 * one stays. Files are polled, since the way that Kubernetes swaps them raises no events.
 * @returns ends it.
 */
export function reloadTlsOnChange(
  server: Pick<Server, 'setSecureContext'>,
  options: TlsOptions,
  log: Logger,
): () => void {
  const reload = () => {
    loadTls(options).then(
      (context) => {
        server.setSecureContext(context)
        log.info({ certificate: options.certificate }, 'the TLS certificate was reloaded')
      },
      (error: unknown) => log.error({ err: error }, 'the changed TLS certificate is not usable; the old one stays'),
    )
  }
  const files = [options.certificate, options.key, ...options.clientCas]
  for (const file of files) watchFile(file, { interval: WATCH_INTERVAL_MS, persistent: false }, reload)
  return () => {
    for (const file of files) unwatchFile(file, reload)
  }
}
