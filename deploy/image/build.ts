import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { attachSbom } from './attach-sbom.ts'
import { cyclonedx, type DebianPackage } from './sbom.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const HOME = '/opt/entrepot'
/** What Node.js is linked with, and whom TLS may trust. */
const DEBIAN_PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1', 'ca-certificates', 'base-files']
/** What `npm ci` needs and the program does not: the bundle is made, and Node.js is in its place. */
const UNUSED_PATHS = [
  'node_modules/.cache',
  'node_modules/esbuild',
  'node_modules/@esbuild',
  'node_modules/node/node_modules',
]
const USER = 10001
const PASSWD = `root:x:0:0:root:/root:/sbin/nologin\nentrepot:x:${USER}:${USER}:Entrepot:/data:/sbin/nologin\n`
const GROUP = `root:x:0:\nentrepot:x:${USER}:\n`

const HELP = `Usage: npm run image -- [options]

Builds the container image with Buildah, out of what is committed, into an OCI layout. The same commit, with the same
Debian packages, gives the same digest.

  --output <folder>   where the layout is written (default build/image)
  --tag <name>        how the image is called there (default the version)
  --commit <name>     what is built (default HEAD)
  --help              this text

It needs Debian (or its mirror in apt) with git, npm and Buildah, and root or a user that "buildah unshare" serves.
`

/** Runs a program, whose errors are shown, and gives what it prints. */
function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): string {
  return execFileSync(command, args, { ...options, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
}

/** The program as it is committed, with its packages and the bundle; every file is as old as the commit. */
function stageProgram(folder: string, commit: string, epoch: number): void {
  mkdirSync(folder, { recursive: true })
  const archive = `${folder}.tar`
  const paths = ['bin', 'cli', 'server', 'packages', 'package.json', 'package-lock.json', 'LICENSE']
  run('git', ['-C', ROOT, 'archive', `--output=${archive}`, commit, ...paths])
  run('tar', ['--extract', '--file', archive, '--directory', folder])
  rmSync(archive)
  for (const path of globSync('**/*.test.ts', { cwd: folder })) rmSync(join(folder, path))
  setTimes(folder, epoch)
  run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund', '--no-update-notifier'], { cwd: folder })
  for (const path of UNUSED_PATHS) rmSync(join(folder, path), { recursive: true, force: true })
}

/** The bundle remembers how old the sources are, and a layer keeps it. */
function setTimes(folder: string, epoch: number): void {
  for (const path of globSync('**', { cwd: folder })) lutimesSync(join(folder, path), epoch, epoch)
}

/** The files of Debian packages, as apt here gets them, without running any of their scripts. */
function stageDebian(folder: string, downloads: string): DebianPackage[] {
  mkdirSync(folder, { recursive: true })
  mkdirSync(downloads, { recursive: true })
  run('apt-get', ['download', '-qq', '-o', 'APT::Sandbox::User=root', ...DEBIAN_PACKAGES], { cwd: downloads })
  const files = globSync('*.deb', { cwd: downloads }).toSorted()
  const packages = files.map((file) => {
    run('dpkg-deb', ['--extract', join(downloads, file), folder])
    const [name = '', version = '', architecture = ''] = run('dpkg-deb', [
      '--show',
      '--showformat=${Package} ${Version} ${Architecture}',
      join(downloads, file),
    ]).split(' ')
    return { name, version, architecture }
  })
  const authorities = globSync('usr/share/ca-certificates/mozilla/*.crt', { cwd: folder }).toSorted()
  mkdirSync(join(folder, 'etc/ssl/certs'), { recursive: true })
  writeFileSync(
    join(folder, 'etc/ssl/certs/ca-certificates.crt'),
    authorities.map((file) => readFileSync(join(folder, file), 'utf8')).join(''),
  )
  for (const path of ['usr/share/man', 'usr/share/lintian']) {
    rmSync(join(folder, path), { recursive: true, force: true })
  }
  writeFileSync(join(folder, 'etc/passwd'), PASSWD)
  writeFileSync(join(folder, 'etc/group'), GROUP)
  chmodSync(join(folder, 'tmp'), 0o1777)
  return packages
}

/** What the image says of itself, as options of `buildah config`. */
function configurationOf(version: string): string[] {
  // As in bin/entrepot, which would need a shell.
  const options = ['--max-semi-space-size=4', '--disable-warning=ExperimentalWarning']
  const node = [`${HOME}/node_modules/node/bin/node`, ...options, `${HOME}/bin/launch.ts`]
  const environment = {
    UV_THREADPOOL_SIZE: '16',
    REGISTRY_HTTP_ADDR: '0.0.0.0:5000',
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: '/data',
  }
  const annotations = { title: 'Entrepot', version, licenses: 'Apache-2.0' }
  return [
    `--user=${USER}:${USER}`,
    '--workingdir=/data',
    '--volume=/data',
    '--port=5000',
    '--stop-signal=SIGTERM',
    `--entrypoint=${JSON.stringify(node)}`,
    '--cmd=serve',
    ...Object.entries(environment).map(([name, value]) => `--env=${name}=${value}`),
    ...Object.entries(annotations).map(([name, value]) => `--annotation=org.opencontainers.image.${name}=${value}`),
  ]
}

/** Commits the staged files as one image, in storage of its own, into an OCI layout. */
function commitImage(
  work: string,
  options: { root: string; layout: string; tag: string; version: string; epoch: number },
) {
  const { root, layout, tag, version, epoch } = options
  const storage = ['--root', join(work, 'storage'), '--runroot', join(work, 'run'), '--storage-driver', 'vfs']
  const buildah = (...args: string[]) => run('buildah', [...storage, ...args])
  const policy = join(work, 'policy.json')
  writeFileSync(policy, '{"default": [{"type": "insecureAcceptAnything"}]}')
  mkdirSync(join(work, 'data'), { mode: 0o700 })
  const container = buildah('from', 'scratch')
  buildah('add', '--quiet', container, root, '/')
  buildah('add', '--quiet', `--chown=${USER}:${USER}`, '--chmod=0700', container, join(work, 'data'), '/data')
  buildah('config', ...configurationOf(version), container)
  const form = ['--format=oci', '--disable-compression=false', `--timestamp=${epoch}`, `--signature-policy=${policy}`]
  buildah('commit', '--quiet', ...form, container, `oci:${layout}:${tag}`)
  buildah('rm', container)
}

function build(): void {
  const { values } = parseArgs({
    options: {
      output: { type: 'string', default: join(ROOT, 'build/image') },
      tag: { type: 'string' },
      commit: { type: 'string', default: 'HEAD' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const epoch = Number(run('git', ['-C', ROOT, 'show', '--no-patch', '--format=%ct', values.commit]))
  const work = mkdtempSync(join(tmpdir(), 'entrepot-image-'))
  try {
    const root = join(work, 'root')
    const packages = stageDebian(root, join(work, 'debian'))
    const program = join(root, HOME)
    stageProgram(program, values.commit, epoch)
    const manifest: unknown = JSON.parse(readFileSync(join(program, 'package.json'), 'utf8'))
    const version =
      typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : ''
    const list = run('npm', ['sbom', '--package-lock-only', '--omit=dev', '--sbom-format=cyclonedx'], { cwd: program })
    const sbom = cyclonedx(list, (path) => existsSync(join(program, path)), packages)
    if (existsSync(values.output)) rmSync(values.output, { recursive: true })
    mkdirSync(dirname(values.output), { recursive: true })
    const layout = join(work, 'layout')
    commitImage(work, { root, layout, tag: values.tag ?? version, version, epoch })
    const digest = attachSbom(layout, sbom, new Date(epoch * 1000))
    cpSync(layout, values.output, { recursive: true })
    process.stdout.write(`${digest} ${values.output}\n`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

build()
