import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Certificate } from '../../test/operations/certificates.ts'
import { findDistribution3 } from './distribution-module.ts'
import { firstLineOf } from '../programs.ts'
import { entrepotVersion, registryInFolder, scaledOutEntrepot } from './entrepot.ts'
import { findMinio } from './minio.ts'

export type KindName = 'entrepot' | 'entrepot-alone' | 'distribution-2' | 'distribution-3' | 'nginx' | 'minio'

/** How to start one of the servers on a folder and a port. */
export interface ServerKind {
  readonly name: KindName
  /** The head of its column. */
  readonly title: string
  readonly version: string
  /** False for what only keeps files or objects: nginx and MinIO show the limit. */
  readonly isRegistry: boolean
  /** Writes the configuration into the folder and gives the command that serves it, over TLS with a certificate. */
  configure(
    folder: string,
    port: number,
    tls: Certificate | undefined,
  ): Promise<{ readonly file: string; readonly args: readonly string[] }>
  /** Ends what `configure` has started beside the server. */
  end?(folder: string): Promise<void>
}

/** A column that the tables do not have, and why. */
export interface MissingKind {
  readonly title: string
  readonly reason: string
}

/** What takes part in a run. The first is compared with the others. */
export interface Field {
  readonly kinds: readonly ServerKind[]
  readonly missing: readonly MissingKind[]
}

/** Entrepot on PostgreSQL and MinIO, beside Entrepot in a folder, and MinIO without any registry. */
export function findScaledOutKinds(): Field {
  const version = entrepotVersion()
  const minio = findMinio()
  if (minio === undefined) throw new Error('the command `minio` is not installed')
  const alone = { name: 'entrepot-alone', title: 'Entrepot on SQLite and a folder', version } as const
  const scaledOut = { name: 'entrepot', title: 'Entrepot on PostgreSQL and MinIO', version } as const
  return { kinds: [scaledOutEntrepot(scaledOut), registryInFolder(alone), minio], missing: [] }
}

/** Looks for Entrepot's peers on this machine. */
export async function findServerKinds(): Promise<Field> {
  const dockerRegistryVersion = firstLineOf('docker-registry', ['--version'])
  const nginxVersion = firstLineOf('nginx', ['-v'])
  const distribution3 = await findDistribution3()

  const kinds: ServerKind[] = [registryInFolder({ name: 'entrepot', title: 'Entrepot', version: entrepotVersion() })]
  const missing: MissingKind[] = []
  if (dockerRegistryVersion === undefined) {
    missing.push({ title: 'docker-registry 2.8.2', reason: 'the command `docker-registry` is not installed' })
  } else {
    const version = dockerRegistryVersion.split(' ').at(-1) ?? dockerRegistryVersion
    const title = `docker-registry ${version.split('+')[0]}`
    kinds.push(registryInFolder({ name: 'distribution-2', title, version, file: 'docker-registry' }))
  }
  if ('missingBecause' in distribution3) {
    missing.push({ title: 'distribution 3.1.2', reason: distribution3.missingBecause })
  } else {
    kinds.push(registryInFolder({ name: 'distribution-3', title: 'distribution 3.1.2', ...distribution3 }))
  }
  if (nginxVersion === undefined) missing.push({ title: 'nginx', reason: 'the command `nginx` is not installed' })
  else kinds.push(nginx(nginxVersion.replace('nginx version: ', '')))
  return { kinds, missing }
}

function nginx(version: string): ServerKind {
  return {
    name: 'nginx',
    title: 'nginx',
    version,
    isRegistry: false,
    async configure(folder, port, tls) {
      await mkdir(join(folder, 'data'), { recursive: true })
      const configFile = join(folder, 'nginx.conf')
      await writeFile(configFile, nginxConfiguration(folder, port, tls))
      return { file: 'nginx', args: ['-e', 'stderr', '-p', folder, '-c', configFile] }
    },
  }
}

function nginxConfiguration(folder: string, port: number, tls: Certificate | undefined): string {
  const secured = tls === undefined ? '' : `ssl_certificate ${tls.certificate}; ssl_certificate_key ${tls.key};`
  // Workers of a server that root started would otherwise run as a user who may not read the folder.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  return `
${user}
daemon off;
worker_processes auto;
error_log stderr error;
pid ${folder}/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=100;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'}; ${secured} root ${folder}/data; }
}
`
}
