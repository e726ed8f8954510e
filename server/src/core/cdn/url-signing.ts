import { createHash, createHmac, createPrivateKey, randomUUID, sign, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** How URLs are signed, so that a CDN serves only whom the registry has sent. */
export type SigningOptions =
  | { readonly type: 'cloudflare' | 'alibaba'; readonly secret: string; readonly durationMs: number }
  | {
      readonly type: 'cloudfront'
      readonly keyPairId: string
      /** A file in PEM. */
      readonly privateKey: string
      readonly durationMs: number
    }

/** Signs URLs, and tells those that it has signed. */
export interface UrlSigner {
  /**
   * @param url without a query
   * @param nowMs since 1970
   */
  sign(url: string, nowMs: number): string
  /**
   * Whether a request that the CDN hands on carries a signature that is valid now. CDNs that check it themselves and take
   * it away before they ask the origin have none.
   * @param target path and query, as they were sent
   */
  verifies(target: string, nowMs: number): boolean
}

/** The clock of the CDN, or of another instance, may be ahead. */
const CLOCK_SKEW_S = 60

/** @throws the system's error where the private key cannot be read, or is none. */
export function createUrlSigner(options: SigningOptions): UrlSigner {
  if (options.type === 'cloudfront') return cloudFrontSigner(options)
  const { secret, durationMs } = options
  if (options.type === 'cloudflare') {
    return tokenSigner(durationMs, 'verify', /^(\d{10})-([\w%+/=-]+)$/, {
      create: (path, timestamp) => `${timestamp}-${encodeURIComponent(hmac(secret, path + timestamp))}`,
      isOf: (path, timestamp, [, code = '']) => isSame(decode(code), hmac(secret, path + timestamp)),
    })
  }
  const hash = (...parts: string[]) => md5([...parts, secret].join('-'))
  return tokenSigner(durationMs, 'auth_key', /^(\d{10})-(\w+)-(\w+)-([0-9a-f]{32})$/, {
    create: (path, timestamp) => {
      const random = randomUUID().replaceAll('-', '')
      return [timestamp, random, '0', hash(path, timestamp, random, '0')].join('-')
    },
    isOf: (path, timestamp, [, random = '', user = '', code = '']) => isSame(code, hash(path, timestamp, random, user)),
  })
}

interface Token {
  readonly create: (path: string, timestamp: string) => string
  /** @param fields those of the token: the timestamp, and what follows it */
  readonly isOf: (path: string, timestamp: string, fields: readonly string[]) => boolean
}

/**
 * A token in the query with the time of its making, over the path: as `is_timed_hmac_valid_v0` of Cloudflare checks it
 * (developers.cloudflare.com/waf/custom-rules/use-cases/configure-token-authentication), and type A of Alibaba Cloud CDN
 * (help.aliyun.com/zh/cdn/user-guide/type-a-signing).
 */
function tokenSigner(durationMs: number, parameter: string, pattern: RegExp, token: Token): UrlSigner {
  return {
    sign: (url, nowMs) => `${url}?${parameter}=${token.create(new URL(url).pathname, inSeconds(nowMs))}`,
    verifies: (target, nowMs) => {
      const [path = '', value = ''] = target.split(`?${parameter}=`)
      const [, ...fields] = pattern.exec(value.split('&', 1).join('')) ?? []
      const [timestamp] = fields
      if (timestamp === undefined) return false
      const ageS = Number(inSeconds(nowMs)) - Number(timestamp)
      return ageS >= -CLOCK_SKEW_S && ageS * 1000 <= durationMs && token.isOf(path, timestamp, fields)
    },
  }
}

/**
 * URLs with a canned policy (docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide, "Creating a signed URL using a
 * canned policy"): RSA with SHA-1, in base64 with letters that a query takes. CloudFront takes the signature away before
 * it asks the origin.
 */
function cloudFrontSigner(options: SigningOptions & { type: 'cloudfront' }): UrlSigner {
  const key = createPrivateKey(readFileSync(options.privateKey))
  return {
    sign: (url, nowMs) => {
      const expires = Number(inSeconds(nowMs + options.durationMs))
      const policy = { Statement: [{ Resource: url, Condition: { DateLessThan: { 'AWS:EpochTime': expires } } }] }
      const signature = sign('RSA-SHA1', Buffer.from(JSON.stringify(policy)), key)
        .toString('base64')
        .replaceAll('+', '-')
        .replaceAll('=', '_')
        .replaceAll('/', '~')
      return `${url}?Expires=${expires}&Signature=${signature}&Key-Pair-Id=${options.keyPairId}`
    },
    verifies: () => false,
  }
}

const inSeconds = (timeMs: number) => String(Math.floor(timeMs / 1000))
const hmac = (secret: string, text: string) => createHmac('sha256', secret).update(text).digest('base64')
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

function isSame(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)]
  return one.byteLength === other.byteLength && timingSafeEqual(one, other)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
