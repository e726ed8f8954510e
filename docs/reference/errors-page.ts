import { ERROR_STATUSES, type ErrorCode } from '@entrepot/oci'
import { code, type Language, page, table } from './markdown.ts'

/** What each code means, and what a person does about it. */
const ADVICE: Record<ErrorCode, { en: string; zh: string }> = {
  BLOB_UNKNOWN: {
    en: 'The repository does not have this blob; another one having it is not enough. Push it here, or mount it from there.',
    zh: '该仓库没有这个 blob，别的仓库里有也不行。请把它推送到该仓库，或从别的仓库挂载过来。',
  },
  BLOB_UPLOAD_INVALID: {
    en: 'Not given by this version.',
    zh: '本版本不会返回。',
  },
  BLOB_UPLOAD_UNKNOWN: {
    en: 'The upload is finished, cancelled, swept after `storage.maintenance.uploadpurging.age`, gave way to a newer one at `limits.uploads`, or belongs to another repository. Start another; clients do so when they push again.',
    zh: '该上传已经完成、已经取消、闲置超过 `storage.maintenance.uploadpurging.age` 而被清除、在上传数达到 `limits.uploads` 时让位给了新的上传，或者属于别的仓库。请重新开始上传；客户端重新推送即可。',
  },
  DENIED: {
    en: 'Callers without credentials may not do this here: `auth.anonymous` lists what they may.',
    zh: '未提供凭据的请求不能执行该操作；允许的操作由 `auth.anonymous` 列出。',
  },
  DIGEST_INVALID: {
    en: 'Either the digest is malformed (`sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits), or the bytes that came are others than it says: push again; if it happens again, something on the way changes them.',
    zh: '摘要格式不对（应为 `sha256:` 加 64 位或 `sha512:` 加 128 位小写十六进制），或收到的内容与摘要不符：请重新推送；若再次出现，说明内容在传输途中被改动。',
  },
  MANIFEST_BLOB_UNKNOWN: {
    en: 'The manifest lists what the repository does not have; `detail.digests` names it. Push that first. Images of an index that are left out on purpose: see `validation.manifests.indexes`.',
    zh: '清单引用了仓库中没有的内容，具体见 `detail.digests`，请先推送它们。如果索引中的某些镜像是有意省略的，见 `validation.manifests.indexes`。',
  },
  MANIFEST_INVALID: {
    en: 'The message names the field. Often: `Content-Type` and `mediaType` disagree, a key stands twice, a size is not that of the blob, or the image is in the old schema 1 (convert it with `skopeo copy --format v2s2`).',
    zh: '消息会指出有问题的字段。常见原因：`Content-Type` 与 `mediaType` 不一致、键重复、大小与 blob 不符，或镜像是旧的 schema 1（可用 `skopeo copy --format v2s2` 转换）。',
  },
  MANIFEST_UNKNOWN: {
    en: 'The repository has no such tag or digest. `/v2/<name>/tags/list` lists its tags.',
    zh: '仓库中没有这个标签或摘要。`/v2/<name>/tags/list` 列出全部标签。',
  },
  NAME_INVALID: {
    en: 'Names are lower-case letters and digits, separated by `.`, `_`, `__` or dashes, in parts separated by `/`, up to 255 characters.',
    zh: '名称由小写字母和数字组成，可用 `.`、`_`、`__` 或连字符分隔，各段之间用 `/`，总长不超过 255 个字符。',
  },
  NAME_UNKNOWN: {
    en: 'There is no such repository; it comes into being with the first push.',
    zh: '没有这个仓库；首次推送时会自动创建。',
  },
  PAGINATION_NUMBER_INVALID: {
    en: '`n` must be a whole number, 0 or more.',
    zh: '`n` 必须是大于等于 0 的整数。',
  },
  RANGE_INVALID: {
    en: 'A download: the blob is shorter than the range asked for. An upload: the chunk does not begin where the last one ended (ask the upload with GET how far it is, and go on from there), or `Content-Range` is malformed: it is `<first byte>-<last byte>`, such as `0-1023`.',
    zh: '下载时：请求的范围超出了 blob。上传时：分块没有接上已收到的内容（请用 GET 查询上传进度，再从该处继续），或者 `Content-Range` 格式不对：应为 `<首字节>-<末字节>`，例如 `0-1023`。',
  },
  SIZE_INVALID: {
    en: 'The body is not as long as its headers say: send it again. With status 413 it is too large: `limits.manifestsize`.',
    zh: '请求体的长度与请求头不一致：请重新发送。状态码为 413 时表示清单过大：见 `limits.manifestsize`。',
  },
  TAG_INVALID: {
    en: 'Tags are 1 to 128 letters, digits, `.`, `_` and `-`, and do not begin with `.` or `-`. With status 414 one push had too many of them: `limits.tagsperpush`.',
    zh: '标签由 1 到 128 个字母、数字、`.`、`_`、`-` 组成，不能以 `.` 或 `-` 开头。状态码为 414 时表示一次推送的标签过多：见 `limits.tagsperpush`。',
  },
  TOOMANYREQUESTS: {
    en: 'Wait for as long as `Retry-After` says, then try again. The message says which: too many uploads are open and in use (`limits.uploads`), or another request holds the same upload or is storing the same content.',
    zh: '按 `Retry-After` 等待后重试。消息会说明具体原因：打开的上传过多且都在使用（`limits.uploads`），或者另一个请求正在使用同一个上传或保存同样的内容。',
  },
  UNAUTHORIZED: {
    en: 'Not given by this version, which has no accounts.',
    zh: '本版本没有账号，不会返回。',
  },
  UNAVAILABLE: {
    en: 'The disk is full: make room, then try again. With status 503 it fails (an I/O error, too many open files), and nothing was acknowledged: the log has the reason; try again when it is repaired.',
    zh: '磁盘已满：请腾出空间后重试。状态码为 503 时表示磁盘出错（I/O 错误、打开的文件过多），没有确认任何写入：原因见日志，修复后重试。',
  },
  UNKNOWN: {
    en: 'Something unforeseen. The log has the reason under the id that the answer carries as `X-Request-Id`; please report it.',
    zh: '意料之外的错误。用响应头 `X-Request-Id` 中的编号可以在日志里查到原因；请向我们反馈。',
  },
  UNSUPPORTED: {
    en: 'The message says which: deleting is switched off (`storage.delete.enabled`), the registry is read-only (`storage.maintenance.readonly`), something else needs what was to be deleted (`detail.neededBy`: delete that first), or the URL takes no such method (`Allow` lists those it takes). With status 412 the tag was changed meanwhile: read it again. With 404 there is nothing at this URL.',
    zh: '消息会说明具体原因：删除被关闭（`storage.delete.enabled`）、整个服务只读（`storage.maintenance.readonly`）、要删除的内容还被引用（`detail.neededBy`，先删除它）、该 URL 不支持此方法（`Allow` 列出支持的方法）。状态码为 412 时表示标签已被他人修改，请重新读取；为 404 时表示该 URL 不存在。',
  },
}

const TEXTS = {
  en: {
    title: 'Errors',
    intro: [
      'Every refusal has a body as the distribution specification asks: `{"errors":[{"code":"…","message":"…","detail":…}]}`. `code` is for programs and does not change; `message` is for people and says what to do; `detail` names what it is about. Every answer carries `X-Request-Id`, the id under which the log has it.',
    ],
    columns: ['Code', 'Status', 'What to do'],
    outro:
      'Before a request is understood, it can be answered with 400 (it is not HTTP), 408 (its headers came too slowly), 414 (its URL is longer than 8192 characters), 417 (its `Expect` cannot be met) or 431 (its headers are larger than 16 KiB).',
  },
  zh: {
    title: '错误码',
    intro: [
      '请求被拒绝时，响应体采用分发规范规定的格式：`{"errors":[{"code":"…","message":"…","detail":…}]}`。`code` 供程序判断，不会改变；`message` 供人阅读，说明该怎么做；`detail` 指出涉及的对象。每个响应都带有 `X-Request-Id`，即该请求在日志中的编号。',
    ],
    columns: ['错误码', '状态码', '处理办法'],
    outro:
      '有些请求在解析完成之前就会被拒绝：400（不是合法的 HTTP）、408（请求头到达得太慢）、414（URL 超过 8192 个字符）、417（无法满足 `Expect`）、431（请求头超过 16 KiB）。',
  },
} as const

/** The page of every error code: the statuses are those of `packages/oci/src/errors.ts`. */
export function errorsPage(language: Language): string {
  const { title, intro, columns, outro } = TEXTS[language]
  const rows = Object.entries(ADVICE).map(([name, advice]) => {
    const status = Object.entries(ERROR_STATUSES).find(([known]) => known === name)?.[1]
    return [code(name), String(status), advice[language]]
  })
  const body = [...intro, table(columns, rows), outro]
  const sources = ['docs/reference/errors-page.ts', 'packages/oci/src/errors.ts']
  return page({ name: 'errors', sources, language, title, body })
}
