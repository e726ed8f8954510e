import * as z from 'zod'
import { ACTIONS } from '#core/access'
import {
  about,
  address,
  askedUrl,
  count,
  delay,
  flag,
  headers,
  httpUrl,
  interval,
  oneOf,
  regularExpression,
  statusCode,
  text,
} from './values.ts'
import { cdn, middleware } from './cdn-schema.ts'
import { database } from './database-schema.ts'
import { jobs } from './jobs-schema.ts'
import { storage } from './storage-schema.ts'

const log = z.strictObject({
  level: oneOf(['error', 'warn', 'info', 'debug']).default('info').meta(about('What is logged.', '日志级别。')),
  formatter: oneOf(['text', 'json', 'logstash'])
    .default('text')
    .meta(
      about(
        '`text` for people, `json` for machines (`logstash` means `json`).',
        '`text` 供人阅读，`json` 供程序解析（`logstash` 等同于 `json`）。',
      ),
    ),
  fields: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()], { error: 'text, a number, true or false' }))
    .default({})
    .meta(about('Fields added to every line.', '附加到每一行日志的字段。')),
  accesslog: z
    .strictObject({
      disabled: flag.default(false).meta(about('Logs no line for each request.', '不为每个请求记录日志。')),
    })
    .prefault({}),
})

const tls = z.strictObject({
  certificate: text.meta(
    about(
      'The certificate with its chain, in PEM; reloaded when it changes.',
      'PEM 格式的证书及证书链；文件变化时自动重新加载。',
    ),
  ),
  key: text.meta(about('Its private key, in PEM.', '对应的 PEM 私钥。')),
  clientcas: z
    .array(text)
    .default([])
    .meta(
      about(
        'Authorities of client certificates; with any, every client must show one.',
        '客户端证书的签发机构；设置后每个客户端都必须出示证书。',
      ),
    ),
  clientauth: oneOf(['require-and-verify-client-cert'])
    .default('require-and-verify-client-cert')
    .meta(about('What is asked of client certificates.', '对客户端证书的要求。')),
  minimumtls: oneOf(['tls1.2', 'tls1.3'])
    .default('tls1.2')
    .meta(about('The oldest version accepted.', '接受的最低 TLS 版本。')),
  ciphersuites: z
    .array(text)
    .default([])
    .meta(
      about(
        'Ciphers for TLS 1.2, as Go or OpenSSL names them; empty takes the defaults of Node.js.',
        'TLS 1.2 加密套件（Go 或 OpenSSL 的名称）；留空使用 Node.js 的默认值。',
      ),
    ),
})

const http = z.strictObject({
  addr: address.prefault('127.0.0.1:5000').meta(about('Where the registry answers.', '监听地址。')),
  net: oneOf(['tcp']).default('tcp').meta(about('The kind of network.', '网络类型。')),
  host: httpUrl
    .optional()
    .meta(
      about(
        'The URL that clients know; answers then carry absolute URLs.',
        '客户端使用的外部 URL；设置后，响应中使用绝对 URL。',
      ),
    ),
  prefix: text
    .regex(/^\/(?:[\w.~-]+\/?)*$/, { error: 'a path that begins with /' })
    .default('/')
    .meta(about('What stands before /v2/ in every URL.', '所有 URL 中 /v2/ 之前的路径。')),
  relativeurls: flag
    .default(false)
    .meta(
      about(
        'Answers carry relative URLs even if `http.host` is set.',
        '即使设置了 `http.host`，响应中也使用相对 URL。',
      ),
    ),
  headers: headers.meta(about('Headers added to every answer.', '附加到每个响应的响应头。')),
  sendfile: flag
    .default(true)
    .meta(
      about(
        'Lets the kernel send large blobs where it can; false reads and writes them.',
        '在可行时由内核直接发送较大的 blob；设为 false 则先读取再写出。',
      ),
    ),
  draintimeout: delay
    .prefault('30s')
    .meta(about('How long requests may take to end at shutdown.', '停机时等待请求结束的最长时间。')),
  tls: tls.optional(),
  http2: z
    .strictObject({ disabled: flag.default(false).meta(about('No HTTP/2 over TLS.', '在 TLS 上禁用 HTTP/2。')) })
    .prefault({}),
  debug: z
    .strictObject({
      addr: address
        .optional()
        .meta(
          about('A second listener for operators: health and metrics.', '面向运维的第二监听地址：健康检查与指标。'),
        ),
      prometheus: z
        .strictObject({
          enabled: flag.default(false).meta(about('Serves metrics there.', '在该地址提供指标。')),
          path: text
            .regex(/^\//, { error: 'a path that begins with /' })
            .default('/metrics')
            .meta(about('Their path.', '指标的路径。')),
        })
        .prefault({}),
    })
    .prefault({}),
})

const repeated = {
  interval: interval.prefault('10s').meta(about('How often.', '检查间隔。')),
  timeout: interval.prefault('5s').meta(about('How long an answer may take.', '等待响应的最长时间。')),
  threshold: count.default(3).meta(about('Failures in a row until it counts.', '连续失败多少次算作故障。')),
}

const health = z.strictObject({
  storagedriver: z
    .strictObject({
      enabled: flag
        .default(true)
        .meta(about('Writes a small file to see whether the storage works.', '写入一个小文件以检查存储是否可用。')),
      interval: repeated.interval,
      threshold: repeated.threshold,
    })
    .prefault({}),
  file: z
    .array(
      z.strictObject({
        file: text.meta(about('Unhealthy while this file exists.', '该文件存在时视为不健康。')),
        interval: repeated.interval,
        threshold: count
          .default(1)
          .meta(about('Looks in a row that see it until it counts.', '连续多少次看到该文件才算作故障。')),
      }),
    )
    .default([]),
  http: z
    .array(
      z.strictObject({
        uri: askedUrl.meta(about('Asked with HEAD.', '用 HEAD 方法请求的地址。')),
        statuscode: statusCode.default(200).meta(about('What it must answer.', '应返回的状态码。')),
        headers: headers.meta(about('Headers sent along.', '随请求发送的请求头。')),
        ...repeated,
      }),
    )
    .default([]),
  tcp: z
    .array(
      z.strictObject({ addr: address.meta(about('Must take a connection.', '必须能够连通的地址。')), ...repeated }),
    )
    .default([]),
})

const urlPatterns = z.array(regularExpression).default([])

const validation = z.strictObject({
  enabled: flag
    .optional()
    .meta(about('Of older files; `true` outweighs `disabled`.', '旧配置中的写法；设为 `true` 时优先于 `disabled`。')),
  disabled: flag.default(false).meta(about('Switches the rules below off.', '关闭以下规则。')),
  manifests: z
    .strictObject({
      urls: z
        .strictObject({
          allow: urlPatterns.meta(
            about(
              'The http and https URLs that layers kept elsewhere may name; empty allows all that `deny` does not match. Without any rule all URLs are allowed.',
              '存放在别处的层可以使用的 http 和 https URL；留空则允许 `deny` 未匹配的全部 URL。没有任何规则时全部允许。',
            ),
          ),
          deny: urlPatterns.meta(about('URLs that they may not name.', '存放在别处的层不可使用的 URL。')),
        })
        .prefault({}),
      indexes: z
        .strictObject({
          platforms: oneOf(['all', 'none', 'list'])
            .default('all')
            .meta(
              about(
                'Which images of an index must be there when it is pushed.',
                '推送索引时，其中哪些平台的镜像必须已经存在。',
              ),
            ),
          platformlist: z
            .array(
              z.strictObject({
                os: text.meta(about('As in Go.', '采用 Go 的写法。')),
                architecture: text.meta(about('As in Go.', '采用 Go 的写法。')),
              }),
            )
            .default([]),
        })
        .prefault({}),
    })
    .prefault({}),
})

const limits = z.strictObject({
  manifestsize: count.default(4_194_304).meta(about('The largest manifest, in bytes.', '清单的最大字节数。')),
  tagsperpush: count
    .default(100)
    .meta(about('Tags in one push by digest (`?tag=`).', '一次按摘要推送可带的标签数（`?tag=`）。')),
  pagesize: count
    .default(1_000)
    .meta(
      about(
        'The most tags or referrers on one page. A list of tags that is asked for without `n` comes whole, in one answer.',
        '每页最多返回的标签或引用者数量。请求标签列表时不带 `n`，则一次返回全部标签，不受此限制。',
      ),
    ),
  chunksize: count
    .optional()
    .meta(
      about(
        'The smallest chunk that clients are asked to upload, in bytes (`OCI-Chunk-Min-Length`). Smaller ones are taken, too.',
        '要求客户端上传的最小分块字节数（`OCI-Chunk-Min-Length`）。更小的分块也会被接受。',
      ),
    ),
  uploads: count
    .default(10_000)
    .meta(
      about(
        'Uploads open at once. At the limit the one that nothing was added to for the longest time gives way, if for more than ten minutes; otherwise the start of another is refused with 429.',
        '同时打开的上传数。达到上限时，空闲最久且超过十分钟的上传会让位；如果没有这样的上传，则拒绝新的上传，返回 429。',
      ),
    ),
  headertimeout: interval
    .prefault('10s')
    .meta(about('How long the headers of a request may take.', '接收请求头的最长时间。')),
  bodyidletimeout: interval
    .prefault('60s')
    .meta(about('How long a client may send nothing within a body.', '接收请求体期间，客户端最多可以多久不发送数据。')),
  keepalivetimeout: interval
    .prefault('75s')
    .meta(about('How long an idle connection stays open.', '空闲连接保持的时间。')),
})

/** The whole of `config.yml`, key by key. */
const keys = z.strictObject({
  version: z.literal(['0.1', 0.1], { error: '0.1' }).meta(about('The version of the format: 0.1.', '格式版本：0.1。')),
  log: log.prefault({}),
  storage: storage.prefault({}),
  database: database.prefault({}),
  http: http.prefault({}),
  auth: z
    .strictObject({
      anonymous: z
        .array(oneOf(ACTIONS))
        .optional()
        .meta(
          about(
            'What anyone may do without credentials. Required where the address is not loopback; on loopback all by default.',
            '未提供凭据的请求可以执行的操作。监听非回环地址时必须设置；监听回环地址时默认全部允许。',
          ),
        ),
    })
    .prefault({}),
  health: health.prefault({}),
  validation: validation.prefault({}),
  catalog: z
    .strictObject({ maxentries: count.default(1_000).meta(about('Repositories on one page.', '每页的仓库数量。')) })
    .prefault({}),
  limits: limits.prefault({}),
  middleware: middleware.prefault({}),
  cdn: cdn.optional(),
  jobs: jobs.prefault({}),
})

/** The same, with what keys of different sections need of each other. */
export const configSchema = keys.superRefine(({ cdn, http }, context) => {
  if (cdn === undefined || cdn.purge.provider === 'none') return
  if (cdn.baseurl !== undefined || http.host !== undefined) return
  const message = 'also "cdn.baseurl" or "http.host": the URLs that the CDN is to forget begin with it'
  context.addIssue({ code: 'custom', path: ['cdn', 'purge', 'provider'], message })
})

export type ParsedConfig = z.output<typeof configSchema>
