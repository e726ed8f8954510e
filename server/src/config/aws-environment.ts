import type { Environment } from './environment.ts'

/** What the variables of the AWS tools say of a store that speaks S3. */
export interface AwsEnvironment {
  readonly region?: string
  readonly endpoint?: string
  readonly credentials?: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
  }
}

/**
 * Reads the variables that the AWS tools know (docs.aws.amazon.com/sdkref/latest/guide/environment-variables.html).
 * @param environment the variables; those of the process unless given.
 */
export function readAwsEnvironment(environment: Environment = process.env): AwsEnvironment {
  const valueOf = (...names: string[]) => names.map((name) => environment[name]).find((value) => value)
  const region = valueOf('AWS_REGION', 'AWS_DEFAULT_REGION')
  const endpoint = valueOf('AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL')
  const [accessKeyId, secretAccessKey] = [valueOf('AWS_ACCESS_KEY_ID'), valueOf('AWS_SECRET_ACCESS_KEY')]
  const sessionToken = valueOf('AWS_SESSION_TOKEN')
  return {
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    ...(accessKeyId !== undefined &&
      secretAccessKey !== undefined && {
        credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) },
      }),
  }
}
