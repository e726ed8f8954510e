import * as z from 'zod'
import { about, flag, httpUrl, interval, oneOf, text, wholeNumber } from './values.ts'

/** Of a URL only scheme, host and port: signatures are of the path, which a CDN must hand on as it is. */
const originUrl = httpUrl.refine((url) => !URL.canParse(url) || new URL(url).pathname === '/', {
  error: 'a URL without a path, such as https://cdn.example.com',
})

const signing = z
  .strictObject({
    type: oneOf(['none', 'cloudflare', 'alibaba', 'cloudfront'])
      .default('none')
      .meta(
        about(
          "How redirects to the CDN are signed: Cloudflare's HMAC tokens, type A of Alibaba Cloud CDN, or CloudFront's signed URLs.",
          '重定向到 CDN 的 URL 如何签名：Cloudflare 的 HMAC 令牌、阿里云 CDN 的 A 方式鉴权，或 CloudFront 的签名 URL。',
        ),
      ),
    secret: text
      .min(1)
      .optional()
      .meta(about('The secret of `cloudflare` and `alibaba`.', '`cloudflare` 和 `alibaba` 使用的密钥。')),
    keypairid: text.min(1).optional().meta(about("CloudFront's id of the public key.", 'CloudFront 中公钥的 ID。')),
    privatekey: text
      .min(1)
      .optional()
      .meta(about('A file with the private key for CloudFront, in PEM.', 'CloudFront 私钥文件（PEM 格式）。')),
    duration: interval
      .prefault('20m')
      .meta(
        about(
          'How long a signed URL is valid. Where the CDN has a setting for it, that must be the same.',
          '签名 URL 的有效期。CDN 侧如有对应的设置，必须与此一致。',
        ),
      ),
  })
  .superRefine(({ type, secret, keypairid, privatekey }, context) => {
    const missing = (path: string) =>
      context.addIssue({ code: 'custom', path: [path], message: `a value, as "type: ${type}" needs it` })
    if ((type === 'cloudflare' || type === 'alibaba') && secret === undefined) missing('secret')
    if (type === 'cloudfront' && keypairid === undefined) missing('keypairid')
    if (type === 'cloudfront' && privatekey === undefined) missing('privatekey')
  })

const purge = z
  .strictObject({
    provider: oneOf(['none', 'cloudflare'])
      .default('none')
      .meta(
        about(
          'Whose API is told of deleted manifests, tags and blobs, so that the CDN forgets them, too.',
          '清单、标签和 blob 被删除后，通知哪家 CDN 的 API 清除缓存。',
        ),
      ),
    zone: text.min(1).optional().meta(about('The id of the zone at Cloudflare.', 'Cloudflare 的区域（zone）ID。')),
    token: text
      .min(1)
      .optional()
      .meta(about('A token with the permission to purge the cache.', '具有清除缓存权限的 API 令牌。')),
    api: httpUrl.default('https://api.cloudflare.com/client/v4').meta(about('The URL of the API.', 'API 的 URL。')),
  })
  .superRefine(({ provider, zone, token }, context) => {
    if (provider === 'none') return
    for (const [key, value] of Object.entries({ zone, token })) {
      if (value !== undefined) continue
      context.addIssue({ code: 'custom', path: [key], message: `a value, as "provider: ${provider}" needs it` })
    }
  })

/** A CDN before the registry. */
export const cdn = z.strictObject({
  baseurl: originUrl
    .optional()
    .meta(
      about(
        'The URL of the CDN, whose origin is this registry; blobs are then pulled from it, by a redirect. Without it only the headers for a CDN are sent.',
        'CDN 的 URL，其源站为本仓库；设置后，拉取 blob 的请求被重定向到 CDN。不设置则只发送供 CDN 使用的响应头。',
      ),
    ),
  edgeTtl: wholeNumber
    .default(86_400)
    .meta(
      about(
        'How many seconds a CDN keeps what can never change: blobs, and manifests by digest.',
        'CDN 缓存不变内容（blob，以及按摘要访问的清单）的秒数。',
      ),
    ),
  browserTtl: wholeNumber
    .default(3_600)
    .meta(about('How many seconds others keep it.', '其他客户端缓存这些内容的秒数。')),
  signing: signing.prefault({}),
  purge: purge.prefault({}),
})

const middlewareOptions = z.strictObject({
  baseurl: httpUrl.meta(
    about(
      'What serves the folder or bucket of the storage: `blobs/…` is asked for below it.',
      '直接提供存储目录或存储桶内容的地址，其下的路径为 `blobs/…`。',
    ),
  ),
  keypairid: text.min(1).optional().meta(about("CloudFront's id of the public key.", 'CloudFront 中公钥的 ID。')),
  privatekey: text.min(1).optional().meta(about('A file with the private key, in PEM.', '私钥文件（PEM 格式）。')),
  duration: interval.prefault('20m').meta(about('How long a signed URL is valid.', '签名 URL 的有效期。')),
  ipfilteredby: oneOf(['none'])
    .default('none')
    .meta(about('Nobody is served directly for their address.', '不按客户端地址区分，一律重定向。')),
})

const storageMiddleware = z
  .strictObject({
    name: oneOf(['cloudfront', 'redirect']).meta(
      about('`cloudfront` signs the URLs, `redirect` does not.', '`cloudfront` 对 URL 签名，`redirect` 不签名。'),
    ),
    disabled: flag.default(false).meta(about('Switches it off.', '停用。')),
    options: middlewareOptions,
  })
  .superRefine(({ name, options }, context) => {
    if (name !== 'cloudfront') return
    for (const key of ['keypairid', 'privatekey'] as const) {
      if (options[key] !== undefined) continue
      context.addIssue({ code: 'custom', path: ['options', key], message: 'a value, as CloudFront needs it' })
    }
  })

/** What CNCF distribution puts between the registry and its storage. */
export const middleware = z.strictObject({
  storage: z
    .array(storageMiddleware)
    .max(1, { error: 'one entry at most' })
    .default([])
    .meta(about('Where blobs are pulled from, by a redirect.', '拉取 blob 的请求被重定向到何处。')),
})
