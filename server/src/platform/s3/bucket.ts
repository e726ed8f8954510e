import { createHash } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { Readable } from 'node:stream'
import type { S3Client } from '@aws-sdk/client-s3'
import { ObjectStoreError, type S3Settings } from './bucket-error.ts'

type Sdk = typeof import('@aws-sdk/client-s3')

/** A request is tried so often, with a pause that grows and varies, and is longer where the store asks to slow down. */
const MAX_ATTEMPTS = 3
const CONNECT_TIMEOUT_MS = 3_000
/** How long an answer to one attempt may take, and all of them together; for each KiB that is sent a little longer. */
const ATTEMPT_MS = 10_000
const DEADLINE_MS = 30_000
const MS_PER_KIB = 4
/** How long a start waits for the store. */
const START_MS = 8_000
/** How long a store is waited for that has not answered the last request: what is left to do must not add up. */
const SILENT_MS = 3_000
const SILENCE = new Set(['AbortError', 'TimeoutError'])
/** The most that one request deletes (docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html). */
const MAX_DELETED_KEYS = 1_000

/** Which bucket, and how to reach it. */
export interface S3Options {
  readonly bucket: string
  readonly region: string
  /** The URL of the store; undefined for Amazon's. */
  readonly endpoint: string | undefined
  /** Whether the bucket stands in the path of a URL instead of in its host. */
  readonly isPathStyle: boolean
  /** Undefined asks the environment, and the machine's role. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }
    | undefined
  /** Whether whoever answers is believed to be the store, whatever certificate it shows. */
  readonly isUnverified: boolean
  readonly isDualStack: boolean
  readonly isAccelerated: boolean
  /** What all keys begin with: empty, or a path with a slash at its end. */
  readonly prefix: string
  readonly partBytes: number
  readonly storageClass: string | undefined
  readonly acl: string | undefined
  /** The store encrypts objects: with a key of its own, or with one that its key service has. */
  readonly encryption: { readonly keyId: string | undefined } | undefined
  /** What says all this, so that messages name what is to be corrected. */
  readonly settings: S3Settings
}

export interface ObjectInfo {
  readonly key: string
  readonly sizeBytes: number
  /** When it was written, in milliseconds since 1970. */
  readonly modifiedAt: number
}

/** A part that the store has, to name it when the object is completed. */
export interface StoredPart {
  readonly number: number
  readonly etag: string | undefined
  readonly checksum: string | undefined
}

/** A multipart upload that is not complete. */
export interface OpenMultipart {
  readonly key: string
  readonly uploadId: string
  /** Whether the store copies some of its parts. */
  readonly isCopied: boolean
}

/** The objects of one bucket below a prefix, by key. Whatever fails throws ObjectStoreError. */
export class Bucket {
  readonly partBytes: number
  /** The bucket and the store, for messages. */
  readonly name: string
  readonly #sdk: Sdk
  readonly #client: S3Client
  /** Sends no checksums but those that it is given. */
  readonly #plainClient: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #asWritten: object
  readonly #settings: S3Settings
  #isSilent = false

  private constructor(sdk: Sdk, options: S3Options) {
    this.#sdk = sdk
    this.#client = createClient(sdk, options, 'WHEN_SUPPORTED')
    this.#plainClient = createClient(sdk, options, 'WHEN_REQUIRED')
    this.#bucket = options.bucket
    this.#settings = options.settings
    this.#prefix = options.prefix
    this.partBytes = options.partBytes
    this.name = `the bucket "${options.bucket}" at ${options.endpoint ?? `Amazon S3 in ${options.region}`}`
    const { storageClass, acl, encryption } = options
    this.#asWritten = {
      ...(storageClass !== undefined && { StorageClass: storageClass }),
      ...(acl !== undefined && { ACL: acl }),
      ...(encryption !== undefined && { ServerSideEncryption: encryption.keyId === undefined ? 'AES256' : 'aws:kms' }),
      ...(encryption?.keyId !== undefined && { SSEKMSKeyId: encryption.keyId }),
    }
  }

  /** Loads the client, which takes a second, and so is not done where no bucket is configured. Nothing is asked yet. */
  static async open(options: S3Options): Promise<Bucket> {
    return new Bucket(await import('@aws-sdk/client-s3'), options)
  }

  /** Asks for one key, with little patience. @throws ObjectStoreError that says what is wrong with what is configured. */
  async verify(): Promise<void> {
    await this.hasAny('', START_MS)
  }

  /** Writes an object in one request. */
  async put(key: string, body: Uint8Array): Promise<void> {
    const command = new this.#sdk.PutObjectCommand({ ...this.#at(key), Body: body, ...this.#asWritten })
    await this.#within(body.byteLength, async (limits) => this.#client.send(command, limits))
  }

  /** The size of an object, and what tells it from any other one under its key; undefined where there is none. */
  async head(key: string): Promise<{ sizeBytes: number; etag: string } | undefined> {
    const command = new this.#sdk.HeadObjectCommand(this.#at(key))
    const answer = await this.#within(0, async (limits) => this.#client.send(command, limits)).catch(ignoreGone)
    return answer && { sizeBytes: answer.ContentLength ?? 0, etag: answer.ETag ?? '' }
  }

  /**
   * Begins to read an object.
   * @param range.end the last byte.
   * @param etag of the object that is meant.
   */
  async get(key: string, range: { start: number; end: number }, etag: string): Promise<Readable> {
    const command = new this.#sdk.GetObjectCommand({
      ...this.#at(key),
      Range: `bytes=${range.start}-${range.end}`,
      ...(etag !== '' && { IfMatch: etag }),
    })
    const { Body: body } = await this.#within(0, async (limits) => this.#client.send(command, limits))
    if (body instanceof Readable) return body
    throw new ObjectStoreError(this.name, new Error('the answer has no body'))
  }

  /** The key of an object as the bucket has it, with what all of them begin with. */
  fullKey(key: string): string {
    return this.#prefix + key
  }

  /** A URL with which anyone can read an object for a while. */
  async presign(key: string, seconds: number): Promise<string> {
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
    const command = new this.#sdk.GetObjectCommand(this.#at(key))
    return getSignedUrl(this.#client, command, { expiresIn: seconds })
  }

  /**
   * The objects whose keys begin with a text, in the order of the keys' bytes.
   * @param after only those whose keys come after this one, which need not be there.
   */
  async *list(prefix: string, after?: string): AsyncIterable<ObjectInfo> {
    let token: string | undefined
    do {
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ContinuationToken: token,
        ...(after !== undefined && { StartAfter: this.#prefix + after }),
      })
      const page = await this.#within(0, async (limits) => this.#client.send(command, limits))
      for (const { Key: key, Size: sizeBytes = 0, LastModified: modifiedAt } of page.Contents ?? []) {
        if (key === undefined) continue
        yield { key: key.slice(this.#prefix.length), sizeBytes, modifiedAt: modifiedAt?.getTime() ?? 0 }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  /** Whether there is an object whose key begins with a text. */
  async hasAny(prefix: string, deadlineMs = DEADLINE_MS): Promise<boolean> {
    const command = new this.#sdk.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      MaxKeys: 1,
    })
    const page = await this.#within(0, async (limits) => this.#client.send(command, limits), deadlineMs)
    return (page.Contents ?? []).length > 0
  }

  /** Deletes objects, as many in one request as it takes; nothing happens where there are none. */
  async delete(keys: readonly string[]): Promise<void> {
    for (let first = 0; first < keys.length; first += MAX_DELETED_KEYS) {
      const objects = keys.slice(first, first + MAX_DELETED_KEYS).map((key) => ({ Key: this.#prefix + key }))
      const command = new this.#sdk.DeleteObjectsCommand({
        Bucket: this.#bucket,
        Delete: { Objects: objects, Quiet: true },
      })
      const { Errors: [failed] = [] } = await this.#within(0, async (limits) => this.#client.send(command, limits))
      if (failed !== undefined) {
        throw new ObjectStoreError(this.name, Object.assign(new Error(failed.Message), { name: failed.Code }))
      }
    }
  }

  /**
   * @param isCopied whether the store copies some of the parts. Not every store makes a checksum of those, and Amazon's
   * takes none of the others then, but for the older `Content-MD5`.
   */
  async beginMultipart(key: string, isCopied = false): Promise<OpenMultipart> {
    const command = new this.#sdk.CreateMultipartUploadCommand({
      ...this.#at(key),
      ...this.#asWritten,
      ...(!isCopied && { ChecksumAlgorithm: 'CRC32' }),
    })
    const client = isCopied ? this.#plainClient : this.#client
    const { UploadId: uploadId } = await this.#within(0, async (limits) => client.send(command, limits))
    if (uploadId !== undefined) return { key, uploadId, isCopied }
    throw new ObjectStoreError(this.name, new Error('a multipart upload was begun without an id'))
  }

  /** Writes a part; the store compares it with its checksum. */
  async putPart(multipart: OpenMultipart, number: number, body: Uint8Array): Promise<StoredPart> {
    const { isCopied } = multipart
    const command = new this.#sdk.UploadPartCommand({
      ...this.#of(multipart),
      PartNumber: number,
      Body: body,
      ...(isCopied ? { ContentMD5: md5Of(body) } : { ChecksumAlgorithm: 'CRC32' }),
    })
    signWithoutBody(command)
    const client = isCopied ? this.#plainClient : this.#client
    const answer = await this.#within(body.byteLength, async (limits) => client.send(command, limits))
    return { number, etag: answer.ETag, checksum: isCopied ? undefined : answer.ChecksumCRC32 }
  }

  /** Lets the store copy bytes of another object into a part. */
  async copyPart(
    multipart: OpenMultipart,
    number: number,
    from: { key: string; start: number; sizeBytes: number },
  ): Promise<StoredPart> {
    const { key, start, sizeBytes } = from
    const command = new this.#sdk.UploadPartCopyCommand({
      ...this.#of(multipart),
      PartNumber: number,
      CopySource: `${this.#bucket}/${encodeURI(this.#prefix + key)}`,
      CopySourceRange: `bytes=${start}-${start + sizeBytes - 1}`,
    })
    // It takes as long as a few MiB over the network.
    const { CopyPartResult: copied } = await this.#within(sizeBytes / 8, async (limits) =>
      this.#client.send(command, limits),
    )
    return { number, etag: copied?.ETag, checksum: undefined }
  }

  /** Makes an object out of parts. */
  async completeMultipart(multipart: OpenMultipart, parts: readonly StoredPart[]): Promise<void> {
    const command = new this.#sdk.CompleteMultipartUploadCommand({
      ...this.#of(multipart),
      MultipartUpload: {
        Parts: parts.map(({ number, etag, checksum }) => ({
          PartNumber: number,
          ETag: etag,
          ...(checksum !== undefined && { ChecksumCRC32: checksum }),
        })),
      },
    })
    await this.#within(0, async (limits) => this.#client.send(command, limits))
  }

  /** Forgets the parts; nothing happens where there are none. */
  async abortMultipart(multipart: OpenMultipart): Promise<void> {
    const command = new this.#sdk.AbortMultipartUploadCommand(this.#of(multipart))
    await this.#within(0, async (limits) => this.#client.send(command, limits)).catch((error: unknown) => {
      if (!(error instanceof ObjectStoreError && error.code === 'NoSuchUpload')) throw error
    })
  }

  /** The multipart uploads that were begun before a time, in milliseconds since 1970, and never completed. */
  async *listMultiparts(prefix: string, before: number): AsyncIterable<OpenMultipart> {
    let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {}
    do {
      const command: InstanceType<Sdk['ListMultipartUploadsCommand']> = new this.#sdk.ListMultipartUploadsCommand({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ...marker,
      })
      const page = await this.#within(0, async (limits) => this.#client.send(command, limits))
      for (const { Key: key, UploadId: uploadId, Initiated: at } of page.Uploads ?? []) {
        if (key === undefined || uploadId === undefined || at === undefined || at.getTime() >= before) continue
        yield { key: key.slice(this.#prefix.length), uploadId, isCopied: false }
      }
      marker = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
    } while (marker !== undefined)
  }

  #at(key: string) {
    return { Bucket: this.#bucket, Key: this.#prefix + key }
  }

  #of({ key, uploadId }: OpenMultipart) {
    return { ...this.#at(key), UploadId: uploadId }
  }

  /** Sends a request within its time; the body of the answer may take longer. */
  async #within<Answer>(
    bytes: number,
    send: (limits: { abortSignal: AbortSignal; requestTimeout: number }) => Promise<Answer>,
    deadlineMs = DEADLINE_MS,
  ): Promise<Answer> {
    const allowance = (bytes / 1024) * MS_PER_KIB
    const deadline = new AbortController()
    const timer = setTimeout(() => deadline.abort(), this.#isSilent ? SILENT_MS : deadlineMs + allowance)
    try {
      const answer = await send({ abortSignal: deadline.signal, requestTimeout: ATTEMPT_MS + allowance })
      this.#isSilent = false
      return answer
    } catch (cause) {
      const error = new ObjectStoreError(this.name, cause, this.#settings)
      this.#isSilent = SILENCE.has(error.code)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}

/**
 * The signature covers the checksum of the body instead of the body. Otherwise both sides hash all of it once more, which
 * takes as long as all else that happens to it; what it protects from is seen by the digest that is checked on reading.
 * Source: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html ("UNSIGNED-PAYLOAD")
 */
function signWithoutBody(command: InstanceType<Sdk['UploadPartCommand']>): void {
  command.middlewareStack.add(
    (next) => async (args) => {
      const { request } = args
      if (typeof request === 'object' && request !== null && 'headers' in request) {
        Object.assign(request.headers ?? {}, { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' })
      }
      return next(args)
    },
    { step: 'build' },
  )
}

function createClient(sdk: Sdk, options: S3Options, checksums: 'WHEN_SUPPORTED' | 'WHEN_REQUIRED'): S3Client {
  const { region, endpoint, isPathStyle, credentials, isUnverified, isDualStack, isAccelerated } = options
  return new sdk.S3Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    forcePathStyle: isPathStyle,
    ...(credentials !== undefined && { credentials }),
    useDualstackEndpoint: isDualStack,
    useAccelerateEndpoint: isAccelerated,
    requestChecksumCalculation: checksums,
    maxAttempts: MAX_ATTEMPTS,
    retryMode: 'standard',
    // A question before each part would cost a round trip.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent({ keepAlive: true }),
      httpsAgent: new HttpsAgent({ keepAlive: true, rejectUnauthorized: !isUnverified }),
    },
  })
}

function md5Of(body: Uint8Array): string {
  return createHash('md5').update(body).digest('base64')
}

function ignoreGone(error: unknown): undefined {
  if (error instanceof ObjectStoreError && error.isGone) return undefined
  throw error
}
