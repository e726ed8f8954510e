import { type FindingKind, SEVERITIES } from '@entrepot/server/fsck'
import { code, type Language, page, table } from './markdown.ts'

/** What each finding means, and what a person does about it. */
const ADVICE: Record<FindingKind, { en: string; zh: string }> = {
  'database-missing': {
    en: 'There is content, but `entrepot.db` is missing or empty. Put a backup of it in place: see [recover](../guide/recover.md#a-lost-database).',
    zh: '有内容，但 `entrepot.db` 不存在或为空。请放回备份：见[故障恢复](../guide/recover.zh-CN.md#数据库丢失)。',
  },
  'database-unreadable': {
    en: '`entrepot.db` cannot be opened. Look at its owner and its mode; if those are right, put a backup in place.',
    zh: '无法打开 `entrepot.db`。先检查属主和权限；如果没有问题，请放回备份。',
  },
  'database-damaged': {
    en: 'SQLite finds the file inconsistent. Keep a copy of it and put a backup in place; what was found after it may follow from it.',
    zh: 'SQLite 认为文件内部不一致。请留一份副本，然后放回备份；之后报告的其他问题可能都由此引起。',
  },
  'database-version': {
    en: 'The database is of another version of Entrepot. A newer one: check with that version. An older one: start this version once, which upgrades it.',
    zh: '数据库由其他版本的 Entrepot 写入。版本较新时，请用那个版本检查；版本较旧时，请先启动一次当前版本完成升级。',
  },
  'row-invalid': {
    en: 'A row holds a value that no version writes, such as a digest that is none. Something else has written to the database, or it is damaged: put a backup in place.',
    zh: '某一行含有任何版本都不会写入的值，例如不合法的摘要。数据库被其他程序改过，或已经损坏：请放回备份。',
  },
  'row-dangling': {
    en: 'A row refers to another one that is not there, such as a tag whose manifest is gone. Put a backup in place, or push the image again.',
    zh: '某一行引用的行不存在，例如标签指向的清单没有了。请放回备份，或重新推送该镜像。',
  },
  'row-wrong': {
    en: 'The content is right, but its row says something else of it: a size, a media type, a subject. Put a backup of the database in place.',
    zh: '内容正确，但数据库中对它的记录（大小、媒体类型、subject 等）与内容不符。请放回数据库备份。',
  },
  'children-wrong': {
    en: 'The rows do not name what the manifest needs, so that garbage collection could take it. Delete the manifest and push it again, or put a backup of the database in place.',
    zh: '数据库没有正确记录该清单引用的内容，这些内容可能被垃圾回收清除。请删除该清单后重新推送，或放回数据库备份。',
  },
  'child-missing': {
    en: 'A manifest needs something that its repository does not have, so that it cannot be pulled in full. Push that content, or the whole image, to the repository again. After a change of `validation.manifests.indexes` it may be an image that an index left out on purpose.',
    zh: '清单引用的内容不在所属仓库中，因此无法完整拉取。请向该仓库重新推送这些内容或整个镜像。如果改过 `validation.manifests.indexes`，也可能是索引有意省略的镜像。',
  },
  'content-missing': {
    en: 'The file is gone. Push any image that has this content again, to any repository: all that share it are whole again. Or restore the file from a backup.',
    zh: '文件不存在。请重新推送含有该内容的任意镜像（任意仓库均可），所有共享它的镜像随即恢复完整；也可以从备份中放回该文件。',
  },
  'content-damaged': {
    en: 'The bytes are not those that the digest names. Move them away with `--quarantine`, then push the content again: see [recover](../guide/recover.md#a-damaged-blob). Look at the disk: this is how a failing one shows.',
    zh: '内容与摘要不符。请用 `--quarantine` 移走，再重新推送：见[故障恢复](../guide/recover.zh-CN.md#blob-损坏)。同时请检查磁盘，这往往是磁盘故障的征兆。',
  },
  'content-unreadable': {
    en: 'The file is there but cannot be read. Give it to the server’s user; if the message speaks of an I/O error, look at the disk.',
    zh: '文件存在但无法读取。请把属主和权限改为服务的用户；如果消息提到 I/O 错误，请检查磁盘。',
  },
  'content-not-a-file': {
    en: 'A folder or a link is where the file should be. Move it away with `--quarantine`, then push the content again.',
    zh: '应为文件的位置是目录或链接。请用 `--quarantine` 移走，再重新推送该内容。',
  },
  permissions: {
    en: 'Others on the machine may read or write the file. `chmod -R go= <data folder>` while the server is stopped.',
    zh: '本机其他用户可以读写该文件。停止服务后执行 `chmod -R go= <数据目录>`。',
  },
  'content-unused': {
    en: 'Content that no repository has any more; garbage collection removes it. Nothing to do.',
    zh: '已不属于任何仓库的内容，垃圾回收会清除。无需处理。',
  },
  'file-without-row': {
    en: 'Content that the database does not know: a crash cut a push off, or the database is older than the file. Pushing it again makes it known. Delete it only when you are sure that the database is the right one.',
    zh: '数据库中没有记录的内容：推送被崩溃中断，或数据库比文件旧。重新推送即可重新登记。只有确认数据库无误时才可以删除。',
  },
  'upload-without-row': {
    en: 'What a crash left of an upload; it is removed after `storage.maintenance.uploadpurging.age`.',
    zh: '崩溃后残留的上传，超过 `storage.maintenance.uploadpurging.age` 后会被清除。',
  },
  'name-wrong': {
    en: 'In a bucket: a name that says another size than its object has, or a second name of the same content. It is served all the same; pushing the content again tidies up.',
    zh: '存储桶中的名称有误：名称中的大小与对象不符，或同一内容有第二个名称。不影响拉取；重新推送该内容即可清理。',
  },
  'inventory-wrong': {
    en: 'The bucket says something else of a repository than the database: a crash came in between, or the bucket is from before there was an inventory. The next start of the server brings it up to date; only `--rebuild` relies on it.',
    zh: '存储桶中的清册与数据库不一致：中途崩溃，或存储桶来自尚无清册的版本。服务下次启动时会自动更新；只有 `--rebuild` 依赖清册。',
  },
  'stray-name': {
    en: 'A file or folder that Entrepot did not make. Move it elsewhere.',
    zh: '不是由 Entrepot 创建的文件或目录，请移到别处。',
  },
  quarantined: {
    en: 'Damaged content that was moved away. Keep it while the cause is looked for, then delete it.',
    zh: '已被移走的损坏内容。查明原因之前可以保留，之后删除即可。',
  },
}

const TEXTS = {
  en: {
    title: 'What entrepot fsck finds',
    intro: [
      '`entrepot fsck [config.yml]` looks at everything in the data folder, and in the bucket where `storage.s3` names one: whether the database is whole, whether its rows agree with each other and with the manifests’ own bytes, whether the content of every row is there in its size, and what lies about that no row knows. Manifests are always hashed, blobs with `--deep`. Without `--quarantine` and `--rebuild` nothing is changed.',
    ],
    options: [
      [
        '`--online`',
        'Checks beside a running server. Whatever comes and goes meanwhile is no finding. Without it the server must be stopped.',
      ],
      ['`--deep`', 'Hashes every blob. The only way to find a flipped bit in a large one.'],
      ['`--rate <MiB/s>`', 'Reads blobs no faster than this, so that pulls keep their disk.'],
      [
        '`--quarantine`',
        'Moves damaged content to `quarantine/` in the data folder or the bucket, so that pushing it again heals it. With `--online` the running server does so, in its turn with pushes, after it has read the content itself; it does not move a folder or a link.',
      ],
      [
        '`--rebuild`',
        'First makes a lost database anew, out of what a bucket says of itself: see [blobs in S3](../guide/s3.md#a-lost-database). What could not be made again is among the findings.',
      ],
      [
        '`--json`',
        'Prints `{"findings": [{"kind", "severity", "digest"?, "repository"?, "message"}], "checked": {…}}`.',
      ],
    ],
    optionColumns: ['Option', 'What it does'],
    exit: 'The exit code is 0 when nothing is wrong, 1 when there is an error or the check could not be made, 2 when the command was called wrongly. Notices do not count. `repository` is one of those that are concerned. Kinds keep their names.',
    columns: ['Kind', 'Severity', 'What to do'],
    limits:
      'What leaves no trace cannot be found: a tag or an untagged manifest whose row was deleted, a blob that no manifest needs, a time.',
    severities: { error: 'error', notice: 'notice' },
  },
  zh: {
    title: 'entrepot fsck 的检查结果',
    intro: [
      '`entrepot fsck [config.yml]` 检查数据目录（以及 `storage.s3` 指定的存储桶）中的全部内容：数据库是否完好，各行之间、行与清单内容之间是否一致，每一行对应的内容是否存在且大小正确，以及有哪些没有记录的残留文件。清单总会校验摘要，blob 在使用 `--deep` 时校验。不加 `--quarantine` 和 `--rebuild` 时不做任何修改。',
    ],
    options: [
      ['`--online`', '服务运行时检查，期间的推送、删除和回收不会被误报。不加此项时必须先停止服务。'],
      ['`--deep`', '校验每个 blob 的摘要。大 blob 中的位翻转只有这样才能发现。'],
      ['`--rate <MiB/s>`', '限制读取 blob 的速度，避免影响拉取。'],
      [
        '`--quarantine`',
        '把损坏的内容移到数据目录或存储桶的 `quarantine/` 下，重新推送后即可恢复。与 `--online` 同用时，由运行中的服务重新读取并确认后移走，不会与推送冲突；目录和链接除外。',
      ],
      [
        '`--rebuild`',
        '先根据存储桶自身的记录重建丢失的数据库：见[S3 存储](../guide/s3.zh-CN.md#数据库丢失)。无法重建的部分会列在检查结果中。',
      ],
      [
        '`--json`',
        '输出 `{"findings": [{"kind", "severity", "digest"?, "repository"?, "message"}], "checked": {…}}`。',
      ],
    ],
    optionColumns: ['选项', '作用'],
    exit: '没有问题时退出码为 0；存在错误或无法检查时为 1；命令用法不对时为 2。提示（notice）不影响退出码。`repository` 是受影响的仓库之一。类型名称不会改变。',
    columns: ['类型', '级别', '处理办法'],
    limits: '没有留下痕迹的改动无法发现：标签或无标签清单的行被删除、没有清单引用的 blob 被删除、时间被修改。',
    severities: { error: '错误', notice: '提示' },
  },
} as const

/** The page of `entrepot fsck`: its kinds are those of the sources. */
export function fsckPage(language: Language): string {
  const { title, intro, options, optionColumns, exit, columns, limits, severities } = TEXTS[language]
  const rows = Object.entries(ADVICE).map(([kind, advice]) => {
    const severity = Object.entries(SEVERITIES).find(([known]) => known === kind)?.[1]
    return [code(kind), severity === undefined ? '' : severities[severity], advice[language]]
  })
  const body = [...intro, table(optionColumns, options), exit, table(columns, rows), limits]
  const sources = ['docs/reference/fsck-page.ts', 'server/src/core/findings/finding.ts']
  return page({ name: 'fsck', sources, language, title, body })
}
