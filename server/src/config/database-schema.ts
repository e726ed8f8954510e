import * as z from 'zod'
import { parsePostgresUrl } from './postgres-url.ts'
import { about, count, interval, text } from './values.ts'

const postgresUrl = text.superRefine((url, context) => {
  const parsed = parsePostgresUrl(url)
  if (typeof parsed === 'string') context.addIssue({ code: 'custom', message: parsed })
})

/** Where metadata is kept: in PostgreSQL, or in SQLite where nothing is said. */
export const database = z.strictObject({
  url: postgresUrl
    .optional()
    .meta(
      about(
        'A PostgreSQL database (15 or newer) for the metadata, several hosts of it separated by commas; without it `entrepot.db` in the data folder.',
        '存放元数据的 PostgreSQL 数据库（15 或更新版本），多个主机用逗号分隔；不设置则使用数据目录中的 `entrepot.db`。',
      ),
    ),
  connections: count
    .default(20)
    .meta(about('How many connections to PostgreSQL are open at most.', '到 PostgreSQL 的最大连接数。')),
  statementtimeout: interval
    .prefault('30s')
    .meta(about('How long PostgreSQL may take for one statement.', 'PostgreSQL 执行一条语句的最长时间。')),
  locktimeout: interval
    .prefault('10s')
    .meta(about('How long a statement waits for another transaction.', '一条语句等待其他事务的最长时间。')),
})
