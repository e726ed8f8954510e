const UNKNOWN_AUTHORITY =
  'its certificate comes from an authority that is not known here: name that in NODE_EXTRA_CA_CERTS'

/** What the store answers, or how its connection breaks, and what an operator does about it. */
const ADVICE: Readonly<Record<string, string>> = {
  NoSuchBucket: 'there is no such bucket: create it, or correct "storage.s3.bucket"',
  InvalidAccessKeyId: 'the store does not know the access key: correct "storage.s3.accesskey"',
  SignatureDoesNotMatch: 'the secret key does not belong to the access key: correct "storage.s3.secretkey"',
  AccessDenied: 'these credentials may not do that: let them list, read, write and delete in the bucket',
  Forbidden: 'these credentials may not do that: let them list, read, write and delete in the bucket',
  ExpiredToken: 'the credentials have expired: give new ones',
  CredentialsProviderError:
    'there are no credentials: set "storage.s3.accesskey" and "storage.s3.secretkey", or give the machine a role',
  PermanentRedirect: 'the bucket is in another region: correct "storage.s3.region"',
  AuthorizationHeaderMalformed: 'the bucket is in another region: correct "storage.s3.region"',
  IllegalLocationConstraintException: 'the bucket is in another region: correct "storage.s3.region"',
  RequestTimeTooSkewed: 'the clock of this machine is wrong: set it',
  ENOTFOUND: 'there is no such host: correct "storage.s3.regionendpoint" or "storage.s3.region"',
  ECONNREFUSED: 'nothing answers there: start the store, or correct "storage.s3.regionendpoint"',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  EPROTO:
    'it does not speak TLS: write "http://" before "storage.s3.regionendpoint", or set "storage.s3.secure: false"',
  TimeoutError: 'it does not answer in time: look at the store, and at the network between',
  AbortError: 'it does not answer in time: look at the store, and at the network between',
}

/** The object changed, or went, between two requests. */
const GONE = new Set(['NoSuchKey', 'NotFound', 'PreconditionFailed'])

/** What the store cannot do now, or refuses; nothing was acknowledged. */
export class ObjectStoreError extends Error {
  /** The store's word for it, such as `SlowDown`, or the system's, such as `ECONNREFUSED`. */
  readonly code: string

  /** @param where the bucket and the store, for the message. */
  constructor(where: string, cause: unknown) {
    const code = codeOf(cause)
    super(`${where}: ${ADVICE[code] ?? messageOf(cause)} (${code})`, { cause })
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
