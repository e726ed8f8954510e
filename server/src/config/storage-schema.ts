import * as z from 'zod'
import { s3 } from './s3-schema.ts'
import { about, cronExpression, delay, duration, flag, interval, oneOf, text, wholeNumber } from './values.ts'

/** Where things are kept, and what is done to keep them in order. */
export const storage = z.strictObject({
  filesystem: z
    .strictObject({
      rootdirectory: text
        .min(1)
        .default('./data')
        .meta(
          about(
            'The folder of blobs, uploads and the database; with `s3` of the database alone.',
            '存放 blob、上传内容和数据库的目录；设置了 `s3` 时只存放数据库。',
          ),
        ),
    })
    .prefault({}),
  s3: s3.optional(),
  delete: z
    .strictObject({
      enabled: flag
        .default(false)
        .meta(
          about(
            'Allows deleting tags, manifests and blobs. Without a file it is true.',
            '允许删除标签、清单和 blob。没有配置文件时为 true。',
          ),
        ),
    })
    .prefault({}),
  redirect: z
    .strictObject({
      disable: flag
        .default(false)
        .meta(
          about(
            'Serves every blob from here. Otherwise pulls are led to `cdn.baseurl`, to what `middleware` names, or, without a CDN, to the bucket of `storage.s3` by URLs that hold for 20 minutes.',
            '所有 blob 都由本仓库直接提供。否则拉取会被重定向到 `cdn.baseurl`、`middleware` 指定的地址，或（没有 CDN 时）`storage.s3` 的存储桶，其签名 URL 有效期 20 分钟。',
          ),
        ),
    })
    .prefault({}),
  verification: z
    .strictObject({
      reads: oneOf(['first', 'size'])
        .default('first')
        .meta(
          about(
            '`first`: a blob is compared with its digest when it is first read; a damaged one is never sent to its end. `size`: only blobs of up to 256 KiB, of others the size alone.',
            '`first`：blob 首次被读取时与其摘要比对，损坏的内容绝不会完整发出。`size`：只比对不超过 256 KiB 的 blob，更大的只检查大小。',
          ),
        ),
      age: duration
        .prefault('168h')
        .meta(
          about(
            'How long a blob counts as read after that. Whatever wrote to its file meanwhile ends that sooner; so does a restart.',
            '比对之后多久内视为已读取。期间文件被写入，或服务重启，则提前失效。',
          ),
        ),
    })
    .prefault({}),
  maintenance: z
    .strictObject({
      uploadpurging: z
        .strictObject({
          enabled: flag.default(true).meta(about('Removes abandoned uploads.', '清除被放弃的上传。')),
          age: duration
            .prefault('168h')
            .meta(about('How long nothing was added to them.', '多久没有新数据即视为放弃。')),
          interval: interval.prefault('24h').meta(about('How often they are looked for.', '检查间隔。')),
          dryrun: flag
            .default(false)
            .meta(about('Only logs what would be removed.', '只记录将要清除的内容，不实际清除。')),
        })
        .prefault({}),
      garbagecollection: z
        .strictObject({
          enabled: flag
            .default(true)
            .meta(
              about(
                'Frees the space of what nothing needs, while pushes and pulls go on.',
                '在推送和拉取照常进行的同时，释放不再被需要的内容所占的空间。',
              ),
            ),
          age: duration
            .prefault('24h')
            .meta(about('How long a blob that no manifest needs stays.', '不被任何清单需要的 blob 保留多久。')),
          interval: delay.prefault('1h').meta(about('The rest after each run.', '每次运行之后的间隔。')),
          schedule: cronExpression
            .optional()
            .meta(
              about(
                'When it runs, in the time zone of the server, instead of after each `interval`.',
                '按 cron 表达式运行（使用服务器所在时区），设置后不再按 `interval` 运行。',
              ),
            ),
          rate: wholeNumber
            .default(500)
            .meta(
              about(
                'How many blobs are removed per second at most; 0 sets no limit.',
                '每秒最多移除多少个 blob；0 表示不限速。',
              ),
            ),
        })
        .prefault({}),
      trash: z
        .strictObject({
          age: duration
            .prefault('24h')
            .meta(
              about(
                'How long deleted tags and manifests can be restored; with `0s` they are gone at once.',
                '删除的标签和清单在多长时间内可以恢复；设为 `0s` 则立即彻底删除。',
              ),
            ),
        })
        .prefault({}),
      untagged: z
        .strictObject({
          enabled: flag
            .default(false)
            .meta(
              about(
                'Deletes manifests without a tag that no index lists and that are attached to nothing.',
                '删除没有标签、未被任何索引列出、也未附加到其他清单的清单。',
              ),
            ),
          age: duration.prefault('168h').meta(about('How long they stay without a tag.', '失去标签后保留多久。')),
          dryrun: flag
            .default(false)
            .meta(about('Only logs what would be deleted.', '只记录将要删除的内容，不实际删除。')),
        })
        .prefault({}),
      reserve: wholeNumber
        .default(33_554_432)
        .meta(
          about(
            'How many bytes of the disk are kept free for deleting when it is full; a sixteenth of a smaller disk, and nothing with 0 or with metadata in PostgreSQL.',
            '为磁盘写满时的删除操作预留多少字节；小磁盘最多预留其十六分之一；0 表示不预留，元数据在 PostgreSQL 中时也不预留。',
          ),
        ),
      readonly: z
        .strictObject({
          enabled: flag.default(false).meta(about('Refuses every change with 405.', '拒绝一切修改，返回 405。')),
        })
        .prefault({}),
    })
    .prefault({}),
})
