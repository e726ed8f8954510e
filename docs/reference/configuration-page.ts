import { KNOWN_KEYS } from '../../server/src/config/known-keys.ts'
import { type DescribedKey, type DescribedValue, describeKeys } from '../../server/src/config/described-keys.ts'
import { code, type Language, page, table } from './markdown.ts'

const SOURCES = [
  'server/src/config/schema.ts',
  'server/src/config/storage-schema.ts',
  'server/src/config/cdn-schema.ts',
  'server/src/config/s3-schema.ts',
  'server/src/config/jobs-schema.ts',
  'server/src/config/known-keys.ts',
  'docs/reference/configuration-page.ts',
]

const TEXTS = {
  en: {
    title: 'Configuration',
    intro: [
      "The file is CNCF distribution's `config.yml`, with further keys of Entrepot's own. `entrepot config check FILE` says what is wrong with one, `entrepot config print FILE` prints what is in force. Without a file Entrepot listens on 127.0.0.1:5000, keeps its data in `./data` and allows deleting.",
      'Every key can be set by an environment variable: `REGISTRY_`, then the path in capitals, joined by underscores. `http.addr` is `REGISTRY_HTTP_ADDR`; the value is read as YAML, so that `REGISTRY_AUTH_ANONYMOUS="[pull]"` is a list. An element of a list has its number in the path, from 0 without gaps: `REGISTRY_HTTP_TLS_CLIENTCAS_0`, `REGISTRY_HEALTH_TCP_0_ADDR`; it replaces the one that the file has there, or comes after the last. `REGISTRY_CONFIGURATION_PATH` names the file where the command does not.',
      'A key that does not exist stops the start, with its line and the nearest key that does. Lengths of time are written as in Go: `30s`, `5m`, `1h30m`.',
    ],
    columns: ['Key', 'Value', 'Default', 'What it is for'],
    required: 'must be set',
    none: '—',
    each: (list: string) => `Of each entry of ${list}:`,
    knownTitle: 'Keys of CNCF distribution that are not acted on',
    known:
      'What would change what is protected or stored if it were passed over stops the start. What is not needed here only draws a warning.',
    knownColumns: ['Key', 'What happens', 'Why'],
    refused: 'stops the start',
    ignored: 'warning',
    enabledOnly: ' when enabled',
  },
  zh: {
    title: '配置参考',
    intro: [
      '配置文件就是 CNCF distribution 的 `config.yml`，外加 Entrepot 自己的配置项。`entrepot config check 文件` 检查文件有什么问题，`entrepot config print 文件` 打印实际生效的配置。不指定配置文件时，Entrepot 监听 127.0.0.1:5000，数据放在 `./data`，并允许删除。',
      '每个配置项都可以用环境变量设置：`REGISTRY_` 加上大写的路径，以下划线连接。例如 `http.addr` 对应 `REGISTRY_HTTP_ADDR`；值按 YAML 解析，因此 `REGISTRY_AUTH_ANONYMOUS="[pull]"` 是一个列表。列表的元素在路径中写出序号，从 0 起连续：`REGISTRY_HTTP_TLS_CLIENTCAS_0`、`REGISTRY_HEALTH_TCP_0_ADDR`；它替换文件中该位置的元素，或接在最后一个之后。命令行没有给出文件时，使用 `REGISTRY_CONFIGURATION_PATH` 指定的文件。',
      '出现不存在的配置项时拒绝启动，并指出所在行和最接近的有效配置项。时长采用 Go 的写法：`30s`、`5m`、`1h30m`。',
    ],
    columns: ['配置项', '取值', '默认值', '用途'],
    required: '必填',
    none: '—',
    each: (list: string) => `${list} 的每一项：`,
    knownTitle: '未采用的 CNCF distribution 配置项',
    known: '忽略后会改变访问保护或数据存放方式的，拒绝启动；在这里用不到的，只给出警告。',
    knownColumns: ['配置项', '处理方式', '原因'],
    refused: '拒绝启动',
    ignored: '警告',
    enabledOnly: '（启用时）',
  },
} as const

/** In Chinese, what `KNOWN_KEYS` says in English, by the first key of each reason. */
const REASONS_ZH: Record<string, string> = {
  'auth.htpasswd': '本版本还没有账号：请监听回环地址，或在 `auth.anonymous` 中列出任何人都可以执行的操作。',
  'auth.none': '任何人都可以执行的操作由 `auth.anonymous` 列出。',
  'storage.gcs': '本版本只支持 `storage.filesystem` 和 `storage.s3`。',
  'storage.s3.v4auth': '请求总是使用签名版本 4。',
  'storage.s3.multipartcopychunksize': '已完成的 blob 从不复制。',
  'storage.s3.useragent': '存储服务看到的是客户端库的名称。',
  'storage.s3.loglevel': '存储服务拒绝的请求总会记录。',
  proxy: '本版本不支持，请删除。',
  'http.tls.letsencrypt': '本版本不支持，请设置 `http.tls.certificate` 和 `http.tls.key`。',
  'http.h2c': 'HTTP/2 只在 TLS 上使用。',
  'http.net': '本版本不支持，请用 `tcp` 监听端口。',
  'http.tls.clientauth': '本版本不支持；设置 `http.tls.clientcas` 后，每个客户端都必须出示可验证的证书。',
  'storage.cache': '元数据在数据库中，不需要另外的缓存。',
  'storage.tag': '标签在数据库中，查找不需要限制并发。',
  'storage.filesystem.maxthreads': '线程由运行时自行分配。',
  'http.secret': '上传状态保存在数据库中，不需要签名。',
  redis: '不使用进程之外的缓存。',
  'log.hooks': '请用运行服务的工具转发日志。',
  'log.reportcaller': '每一行日志都带有模块名。',
  loglevel: '请改用 `log.level`。',
  reporting: '没有内置对外上报功能。',
  compatibility: '一律拒绝 schema 1。',
}

/** The page of every key, in the order of the schema. */
export function configurationPage(language: Language): string {
  const texts = TEXTS[language]
  const keys = describeKeys()
  const sections = [...new Set(keys.map(({ path }) => path[0] ?? ''))].map((name) =>
    sectionOf(
      name,
      keys.filter(({ path }) => path[0] === name),
      language,
    ),
  )
  const known = knownRows(language)
  return page({
    name: 'configuration',
    sources: SOURCES,
    language,
    title: texts.title,
    body: [...texts.intro, ...sections, `## ${texts.knownTitle}`, texts.known, table(texts.knownColumns, known)],
  })
}

/** Keys that are treated alike, for the same reason, share a row. */
function knownRows(language: Language): string[][] {
  const texts = TEXTS[language]
  const rows = new Map<string, { keys: string[]; happens: string; why: string }>()
  for (const { path, rule, reason, when, value } of KNOWN_KEYS) {
    const key = path.join('.')
    const row = rows.get(rule + reason) ?? {
      keys: [],
      happens: texts[rule] + (when === undefined ? '' : texts.enabledOnly),
      why: language === 'en' ? sentence(reason) : reasonInChinese(key),
    }
    row.keys.push(code(value === undefined ? key : `${key}: ${value}`))
    rows.set(rule + reason, row)
  }
  return [...rows.values()].map(({ keys, happens, why }) => [keys.join(', '), happens, why])
}

function sectionOf(name: string, keys: readonly DescribedKey[], language: Language): string {
  const { columns, each } = TEXTS[language]
  const toTable = (list: string | undefined) =>
    table(
      columns,
      keys.filter((key) => key.list === list).map((key) => toRow(key, language)),
    )
  const parts = [`## ${name}`]
  for (const list of new Set(keys.map((key) => key.list))) {
    if (list !== undefined) parts.push(each(code(list)))
    parts.push(toTable(list))
  }
  return parts.join('\n\n')
}

function toRow({ path, list, value, byDefault, isOptional, texts }: DescribedKey, language: Language): string[] {
  const { none, required } = TEXTS[language]
  const shown = byDefault === undefined ? (isOptional ? none : required) : code(JSON.stringify(byDefault))
  const name = list === undefined ? path.join('.') : path.slice(list.split('.').length).join('.')
  return [code(name), toWords(value, language), shown.replaceAll('"', ''), texts[language]]
}

const KIND_WORDS = {
  en: { duration: 'length of time', map: 'map of keys', number: 'whole number', text: 'text', list: 'list of ' },
  zh: { duration: '时长', map: '键值表', number: '整数', text: '文本', list: '列表：' },
} as const

/** What a value looks like, in a word or two. */
function toWords({ kind, choices, isList }: DescribedValue, language: Language): string {
  const words = { ...KIND_WORDS[language], choice: choices.map(code).join(', '), flag: '`true`, `false`', url: 'URL' }
  return (isList ? words.list : '') + words[kind]
}

function reasonInChinese(key: string): string {
  const text = REASONS_ZH[key]
  if (text === undefined) throw new Error(`${key} has no reason in Chinese in configuration-page.ts`)
  return text
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`
}
