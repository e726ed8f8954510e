import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Certificate } from '../../test/operations/certificates.ts'
import { findDistribution3 } from './distribution-module.ts'
import { firstLineOf } from '../programs.ts'

const LAUNCHER = fileURLToPath(new URL('../../bin/entrepot', import.meta.url))

export type KindName = 'entrepot' | 'distribution-2' | 'distribution-3' | 'nginx'

/** How to start one of the servers on a folder and a port. */
export interface ServerKind {
  readonly name: KindName
  /** The head of its column. */
  readonly title: string
  readonly version: string
  /** False for nginx, which only serves files: it shows the limit for downloads. */
  readonly isRegistry: boolean
  /** Writes the configuration into the folder and gives the command that serves it, over TLS with a certificate. */
  configure(
    folder: string,
    port: number,
    tls: Certificate | undefined,
  ): Promise<{ readonly file: string; readonly args: readonly string[] }>
}

/** A column that the tables do not have, and why. */
export interface MissingKind {
  readonly title: string
  readonly reason: string
}

/** Looks for Entrepot and its peers on this machine. Entrepot comes first. */
export async function findServerKinds(): Promise<{ kinds: readonly ServerKind[]; missing: readonly MissingKind[] }> {
  const entrepotVersion = firstLineOf(LAUNCHER, ['version'])?.replace(/^entrepot /, '') ?? 'unknown'
  const commit = firstLineOf('git', [
    '--no-optional-locks',
    '-C',
    join(LAUNCHER, '..'),
    'describe',
    '--always',
    '--dirty',
  ])
  const dockerRegistryVersion = firstLineOf('docker-registry', ['--version'])
  const nginxVersion = firstLineOf('nginx', ['-v'])
  const distribution3 = await findDistribution3()

  const kinds: ServerKind[] = [registry('entrepot', 'Entrepot', `${entrepotVersion}, commit ${commit}`, LAUNCHER)]
  const missing: MissingKind[] = []
  if (dockerRegistryVersion === undefined) {
    missing.push({ title: 'docker-registry 2.8.2', reason: 'the command `docker-registry` is not installed' })
  } else {
    const version = dockerRegistryVersion.split(' ').at(-1) ?? dockerRegistryVersion
    kinds.push(registry('distribution-2', `docker-registry ${version.split('+')[0]}`, version, 'docker-registry'))
  }
  if ('missingBecause' in distribution3) {
    missing.push({ title: 'distribution 3.1.2', reason: distribution3.missingBecause })
  } else {
    kinds.push(registry('distribution-3', 'distribution 3.1.2', distribution3.version, distribution3.file))
  }
  if (nginxVersion === undefined) missing.push({ title: 'nginx', reason: 'the command `nginx` is not installed' })
  else kinds.push(nginx(nginxVersion.replace('nginx version: ', '')))
  return { kinds, missing }
}

/** Entrepot reads the same configuration file as distribution, so all registries get the same one. */
function registry(name: KindName, title: string, version: string, file: string): ServerKind {
  return {
    name,
    title,
    version,
    isRegistry: true,
    async configure(folder, port, tls) {
      const config = {
        version: '0.1',
        log: { level: 'error', accesslog: { disabled: true } },
        storage: {
          filesystem: { rootdirectory: join(folder, 'data') },
          delete: { enabled: true },
          cache: { blobdescriptor: 'inmemory' },
        },
        http: { addr: `127.0.0.1:${port}`, secret: 'the same for every server', ...(tls !== undefined && { tls }) },
      }
      const configFile = join(folder, 'config.yml')
      await writeFile(configFile, JSON.stringify(config, null, 2))
      return { file, args: ['serve', configFile] }
    },
  }
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
