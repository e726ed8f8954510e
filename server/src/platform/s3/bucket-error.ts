const UNKNOWN_AUTHORITY =
  'its certificate comes from an authority that is not known here: name that in NODE_EXTRA_CA_CERTS'

/** Where a bucket is named, and what is needed to use it: in the configuration, or in a URL and variables. */
export type S3Settings = 'configuration' | 'environment'

/** What each setting is called. */
const NAMES = {
  configuration: {
    bucket: '"storage.s3.bucket"',
    accessKey: '"storage.s3.accesskey"',
    secretKey: '"storage.s3.secretkey"',
    region: '"storage.s3.region"',
    endpoint: '"storage.s3.regionendpoint"',
    plainly: ', or set "storage.s3.secure: false"',
  },
  environment: {
    bucket: 'its name',
    accessKey: 'AWS_ACCESS_KEY_ID',
    secretKey: 'AWS_SECRET_ACCESS_KEY',
    region: 'AWS_REGION',
    endpoint: 'AWS_ENDPOINT_URL_S3',
    plainly: '',
  },
}

/** What the store answers, or how its connection breaks, and what an operator does about it. */
function adviceOf(settings: S3Settings): Readonly<Record<string, string>> {
  const { bucket, accessKey, secretKey, region, endpoint, plainly } = NAMES[settings]
  const forbidden = 'these credentials may not do that: let them list, read, write and delete in the bucket'
  const elsewhere = `the bucket is in another region: correct ${region}`
  const silent = 'it does not answer in time: look at the store, and at the network between'
  return {
    NoSuchBucket: `there is no such bucket: create it, or correct ${bucket}`,
    InvalidAccessKeyId: `the store does not know the access key: correct ${accessKey}`,
    SignatureDoesNotMatch: `the secret key does not belong to the access key: correct ${secretKey}`,
    AccessDenied: forbidden,
    Forbidden: forbidden,
    ExpiredToken: 'the credentials have expired: give new ones',
    CredentialsProviderError: `there are no credentials: set ${accessKey} and ${secretKey}, or give the machine a role`,
    PermanentRedirect: elsewhere,
    AuthorizationHeaderMalformed: elsewhere,
    IllegalLocationConstraintException: elsewhere,
    RequestTimeTooSkewed: 'the clock of this machine is wrong: set it',
    ENOTFOUND: `there is no such host: correct ${endpoint} or ${region}`,
    ECONNREFUSED: `nothing answers there: start the store, or correct ${endpoint}`,
    DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
    SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
    EPROTO: `it does not speak TLS: write "http://" before ${endpoint}${plainly}`,
    TimeoutError: silent,
    AbortError: silent,
  }
}

/** The object changed, or went, between two requests. */
const GONE = new Set(['NoSuchKey', 'NotFound', 'PreconditionFailed'])

/** What the store cannot do now, or refuses; nothing was acknowledged. */
export class ObjectStoreError extends Error {
  /** The store's word for it, such as `SlowDown`, or the system's, such as `ECONNREFUSED`. */
  readonly code: string

  /** @param where the bucket and the store, for the message. */
  constructor(where: string, cause: unknown, settings: S3Settings = 'configuration') {
    const code = codeOf(cause)
    super(`${where}: ${adviceOf(settings)[code] ?? messageOf(cause)} (${code})`, { cause })
    this.name = 'ObjectStoreError'
    this.code = code
  }

  /** Whether the object that was asked for is not there, or not the same any more. */
  get isGone(): boolean {
    return GONE.has(this.code)
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'Unknown'
  if ('code' in error && typeof error.code === 'string') return error.code === 'ETIMEDOUT' ? 'TimeoutError' : error.code
  if (error.name !== 'Error') return error.name
  return 'Unknown'
}

/** Several addresses of one name fail together, with an empty message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error instanceof Error && error.message !== '' ? error.message : 'it failed'
}
