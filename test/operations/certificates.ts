import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Files in PEM form. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
}

/** Makes a certificate for 127.0.0.1 and localhost that vouches for itself. */
export async function createCertificate(folder: string, name: string): Promise<Certificate> {
  const [certificate, key] = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)]
  const algorithm = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'.split(' ')
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  await run('openssl', ['req', '-x509', ...algorithm, '-keyout', key, '-out', certificate, ...names])
  return { certificate, key }
}
