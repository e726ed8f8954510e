import * as z from 'zod'
import { about, flag, text } from './values.ts'

const MIB = 1024 * 1024
/** What S3 takes as a part, and what can still be held in memory. */
const [MIN_PART_MIB, MAX_PART_MIB] = [5, 512]
const PART_SIZE = `a number of bytes from ${MIN_PART_MIB * MIB} to ${MAX_PART_MIB * MIB}`
const name = text.min(1, { error: 'text' })

/** A bucket for blobs, with the keys of CNCF distribution. */
export const s3 = z
  .strictObject({
    bucket: name.meta(about('The bucket, which must exist.', '存储桶，必须已存在。')),
    region: name.meta(
      about(
        "Its region; for other stores than Amazon's what they ask for, often `us-east-1`.",
        '存储桶所在区域；非 Amazon 的存储按其要求填写，通常为 `us-east-1`。',
      ),
    ),
    regionendpoint: name
      .optional()
      .meta(
        about(
          "The URL of the store, such as `http://127.0.0.1:9000`; without it Amazon's.",
          '存储服务的 URL，例如 `http://127.0.0.1:9000`；不设置则为 Amazon。',
        ),
      ),
    forcepathstyle: flag
      .optional()
      .meta(
        about(
          'Whether the bucket stands in the path of URLs instead of in the host. By default it does with `regionendpoint`.',
          '存储桶名放在 URL 的路径中，而不是主机名中。设置了 `regionendpoint` 时默认如此。',
        ),
      ),
    accesskey: text
      .optional()
      .meta(
        about(
          'The access key. Without keys those of the environment, or of the role of the machine, are used.',
          '访问密钥。不设置时使用环境变量或机器角色提供的凭据。',
        ),
      ),
    secretkey: text.optional().meta(about('Its secret key.', '对应的私有密钥。')),
    sessiontoken: text.optional().meta(about('The token that temporary keys come with.', '临时凭据附带的会话令牌。')),
    encrypt: flag.default(false).meta(about('Lets the store encrypt what it keeps.', '由存储服务加密保存的内容。')),
    keyid: text
      .optional()
      .meta(
        about(
          "The key of the store's key service for that; without it a key of the store's own.",
          '加密使用的 KMS 密钥 ID；不设置则使用存储服务自己的密钥。',
        ),
      ),
    secure: flag
      .default(true)
      .meta(
        about(
          'Whether a `regionendpoint` without `http://` or `https://` is spoken to over TLS.',
          '`regionendpoint` 未写明 `http://` 或 `https://` 时是否使用 TLS。',
        ),
      ),
    skipverify: flag.default(false).meta(about('Believes any certificate of the store.', '不校验存储服务的证书。')),
    chunksize: z
      .int({ error: PART_SIZE })
      .min(MIN_PART_MIB * MIB, { error: PART_SIZE })
      .max(MAX_PART_MIB * MIB, { error: PART_SIZE })
      .default(10 * MIB)
      .meta(
        about(
          'The size of the parts that large blobs are sent in, in bytes; a transfer holds two of them in memory.',
          '大 blob 分段上传的分段字节数；每个传输在内存中最多保留两段。',
        ),
      ),
    rootdirectory: text
      .default('')
      .meta(
        about(
          'The folder in the bucket; without it the whole bucket is used.',
          '存储桶中的目录；不设置则使用整个存储桶。',
        ),
      ),
    storageclass: name
      .optional()
      .meta(about('The class of what is written, such as `STANDARD_IA`.', '写入对象的存储类别，例如 `STANDARD_IA`。')),
    objectacl: name.optional().meta(about('The access control list of what is written.', '写入对象的 ACL。')),
    usedualstack: flag
      .default(false)
      .meta(about("Reaches Amazon's store over IPv6, too.", '同时通过 IPv6 访问 Amazon。')),
    accelerate: flag.default(false).meta(about("Uses Amazon's transfer acceleration.", '使用 Amazon 的传输加速。')),
  })
  .superRefine(({ accesskey, secretkey, sessiontoken }, context) => {
    const problem = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    if (accesskey !== undefined && secretkey === undefined)
      problem('secretkey', 'the secret key that belongs to "accesskey"')
    if (secretkey !== undefined && accesskey === undefined)
      problem('accesskey', 'the access key that belongs to "secretkey"')
    if (sessiontoken !== undefined && accesskey === undefined)
      problem('accesskey', 'the keys that "sessiontoken" belongs to')
  })
