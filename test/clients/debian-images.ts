import { spawn } from 'node:child_process'
import { createReadStream, createWriteStream } from 'node:fs'
import { access, glob, lstat, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip, createZstdCompress } from 'node:zlib'
import { until } from '../harness.ts'
import { type Descriptor, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, OciLayout, sha256OfFile } from './oci-layout.ts'
import { run } from './programs.ts'

const BUILD_TIMEOUT_MS = 600_000
const EMPTY_CONFIG = 'application/vnd.oci.empty.v1+json'
/** What `debian:*-slim` leaves out as well, and what belongs to the running system. */
const LEFT_OUT = ['dev/*', 'proc/*', 'sys/*', 'usr/share/doc/*', 'usr/share/man/*', 'usr/share/locale/*']
const LEFT_OUT_STATE = ['var/cache/apt/*', 'var/lib/apt/lists/*', 'var/log/*']

/** The tag under which every fixture names its image. */
export const TAG = 'bookworm'
/** The line that tells one architecture's image from the other's, in `/etc/motd`. */
export const motd = (architecture: string) => `Debian for the registry's tests, ${architecture}\n`
export const SBOM_TYPE = 'application/spdx+json'

/**
 * The images that every client's test pushes and pulls, made of one Debian system.
 * Each is an OCI layout with one entry, named `bookworm`.
 */
export interface DebianImages {
  /** Three gzip layers for amd64: the base, the package tools, a layer that changes and removes files. */
  readonly single: OciLayout
  /** An index of `single` and of its arm64 sibling. */
  readonly multi: OciLayout
  /** `single` with its layers compressed by zstd. */
  readonly zstd: OciLayout
  /** The software bill of materials of `single`: an artifact whose subject is the manifest of `single`. */
  readonly sbom: OciLayout
  /** `single`'s arm64 sibling alone. */
  readonly arm64: OciLayout
  /** Archives as `docker save` writes them, by architecture. */
  readonly archives: { readonly amd64: string; readonly arm64: string }
}

/**
 * Gives the images, which are made once for all test files of a run: `node --test` is the parent of each file's
 * process, so its process id names the folder, and a watcher removes the folder when that process is gone.
 * `ENTREPOT_CLIENT_IMAGES` names a folder to keep them in instead, for someone who runs these tests often.
 */
export async function debianImages(): Promise<DebianImages> {
  const kept = process.env.ENTREPOT_CLIENT_IMAGES
  const owner = process.env.NODE_TEST_CONTEXT === undefined ? process.pid : process.ppid
  const folder = kept ?? join(tmpdir(), `entrepot-client-images-${owner}`)
  const ready = join(folder, 'ready')
  const failed = join(folder, 'failed')
  const isFirst = await mkdir(folder).then(
    () => true,
    () => false,
  )
  if (isFirst) {
    if (kept === undefined) removeAfter(owner, folder)
    try {
      await build(folder)
      await writeFile(ready, '')
    } catch (error) {
      await writeFile(failed, String(error))
      throw error
    }
  }
  await until(
    async () => {
      if (await exists(failed)) throw new Error(`the Debian images were not made: ${await readFile(failed, 'utf8')}`)
      return exists(ready)
    },
    BUILD_TIMEOUT_MS,
    () => `another test file has been making the Debian images in ${folder} for too long`,
  )
  return {
    single: new OciLayout(join(folder, 'single')),
    multi: new OciLayout(join(folder, 'multi')),
    zstd: new OciLayout(join(folder, 'zstd')),
    sbom: new OciLayout(join(folder, 'sbom')),
    arm64: new OciLayout(join(folder, 'arm64')),
    archives: { amd64: join(folder, 'amd64.tar'), arm64: join(folder, 'arm64.tar') },
  }
}

function removeAfter(owner: number, folder: string): void {
  const script = 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; rm -rf "$2"'
  spawn('sh', ['-c', script, 'sh', String(owner), folder], { detached: true, stdio: 'ignore' }).unref()
}

async function build(folder: string): Promise<void> {
  const root = join(folder, 'root')
  await run('debootstrap', ['--variant=minbase', 'bookworm', root], { timeoutMs: BUILD_TIMEOUT_MS })
  const packages = await packagesOf(root)
  const shared = [join(folder, 'base.tar'), join(folder, 'tools.tar')] as const
  await splitIntoLayers(root, ...shared)
  const tars = {
    amd64: [...shared, await changesLayer(folder, 'amd64')],
    arm64: [...shared, await changesLayer(folder, 'arm64')],
  }
  await rm(root, { recursive: true })
  const files = new Set([...tars.amd64, ...tars.arm64])
  await Promise.all([...files].flatMap((tar) => [compress(tar, 'gzip'), compress(tar, 'zstd')]))

  const single = await OciLayout.create(join(folder, 'single'))
  const image = await addImage(single, tars.amd64, { architecture: 'amd64', compression: 'gzip' })
  await single.setRoot(image, TAG)

  const arm64 = await OciLayout.create(join(folder, 'arm64'))
  await arm64.setRoot(await addImage(arm64, tars.arm64, { architecture: 'arm64', compression: 'gzip' }), TAG)

  const zstd = await OciLayout.create(join(folder, 'zstd'))
  await zstd.setRoot(await addImage(zstd, tars.amd64, { architecture: 'amd64', compression: 'zstd' }), TAG)

  const multi = await OciLayout.create(join(folder, 'multi'))
  const manifests = [
    await addImage(multi, tars.amd64, { architecture: 'amd64', compression: 'gzip' }),
    await addImage(multi, tars.arm64, { architecture: 'arm64', compression: 'gzip' }),
  ]
  await multi.setRoot(await multi.addJson({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }, OCI_INDEX), TAG)

  await writeFile(join(folder, 'sbom.spdx.json'), JSON.stringify({ spdxVersion: 'SPDX-2.3', packages }))
  await addSbom(await OciLayout.create(join(folder, 'sbom')), join(folder, 'sbom.spdx.json'), image)
  await Promise.all([dockerArchive(folder, 'amd64', tars.amd64), dockerArchive(folder, 'arm64', tars.arm64)])
}

async function packagesOf(root: string): Promise<{ name: string; versionInfo: string }[]> {
  const admin = join(root, 'var/lib/dpkg')
  const listing = await run('dpkg-query', [`--admindir=${admin}`, '-W', '-f', '${Package} ${Version}\\n'])
  return listing
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([name = '', versionInfo = '']) => ({ name, versionInfo }))
}

/** Two layers whose union is the system: the second has the files of the packages that install others. */
async function splitIntoLayers(root: string, base: string, tools: string): Promise<void> {
  const files = new Set<string>()
  for await (const list of glob(join(root, 'var/lib/dpkg/info/{apt,gpgv,libapt-pkg*,perl-base}.list'))) {
    for (const path of (await readFile(list, 'utf8')).split('\n')) {
      if (path.startsWith('/usr/') || path.startsWith('/etc/')) files.add(`.${path}`)
    }
  }
  const listed = join(root, '../tools.list')
  const leftOut = [...LEFT_OUT, ...LEFT_OUT_STATE].map((pattern) => `--exclude=./${pattern}`)
  const inLayer: string[] = []
  for (const path of files) if (!(await lstat(join(root, path))).isDirectory()) inLayer.push(path)
  await writeFile(listed, inLayer.toSorted().join('\n'))
  const options = ['-C', root, '--sort=name', '--numeric-owner', '--anchored', ...leftOut]
  await Promise.all([
    run('tar', [...options, '-cf', base, '--no-wildcards', '-X', listed, '.']),
    run('tar', [...options, '-cf', tools, '--no-recursion', '-T', listed]),
  ])
}

/** A small layer as builds make them: one file changed, one removed by a whiteout, one folder emptied. */
async function changesLayer(folder: string, architecture: string): Promise<string> {
  const changes = join(folder, `changes-${architecture}`)
  await mkdir(join(changes, 'etc'), { recursive: true })
  await mkdir(join(changes, 'usr/share/bash-completion'), { recursive: true })
  await writeFile(join(changes, 'etc/motd'), motd(architecture))
  await writeFile(join(changes, 'etc/.wh.issue.net'), '')
  await writeFile(join(changes, 'usr/share/bash-completion/.wh..wh..opq'), '')
  await run('tar', ['-C', changes, '--sort=name', '--owner=0', '--group=0', '-cf', `${changes}.tar`, '.'])
  return `${changes}.tar`
}

async function compress(tar: string, compression: 'gzip' | 'zstd'): Promise<void> {
  const compressor = compression === 'gzip' ? createGzip({ level: 1 }) : createZstdCompress()
  await pipeline(createReadStream(tar), compressor, createWriteStream(`${tar}.${compression}`))
}

async function configOf(tars: readonly string[], architecture: string): Promise<unknown> {
  const diffIds = await Promise.all(tars.map(sha256OfFile))
  const created = '2023-06-10T00:00:00Z'
  return {
    created,
    architecture,
    os: 'linux',
    config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['bash'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: [
      { created, created_by: 'debootstrap --variant=minbase bookworm' },
      { created, created_by: 'the package tools' },
      { created, created_by: 'changed, removed and emptied files' },
    ],
  }
}

async function addImage(
  layout: OciLayout,
  tars: readonly string[],
  how: { architecture: string; compression: 'gzip' | 'zstd' },
): Promise<Descriptor> {
  const layerType = `application/vnd.oci.image.layer.v1.tar+${how.compression}`
  const config = await layout.addJson(await configOf(tars, how.architecture), OCI_CONFIG)
  const layers = await Promise.all(tars.map(async (tar) => layout.addFile(`${tar}.${how.compression}`, layerType)))
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }
  const descriptor = await layout.addJson(manifest, OCI_MANIFEST)
  return { ...descriptor, platform: { architecture: how.architecture, os: 'linux' } }
}

async function addSbom(layout: OciLayout, file: string, subject: Descriptor): Promise<void> {
  const { mediaType, digest, size } = subject
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: SBOM_TYPE,
    config: await layout.addJson({}, EMPTY_CONFIG),
    layers: [await layout.addFile(file, SBOM_TYPE)],
    subject: { mediaType, digest, size },
    annotations: { 'org.opencontainers.image.title': 'packages' },
  }
  await layout.setRoot(await layout.addJson(manifest, OCI_MANIFEST), TAG)
}

async function dockerArchive(folder: string, architecture: 'amd64' | 'arm64', tars: readonly string[]): Promise<void> {
  const content = await mkdtemp(join(folder, 'archive-'))
  await writeFile(join(content, 'config.json'), JSON.stringify(await configOf(tars, architecture)))
  const layers = tars.map((tar) => tar.slice(folder.length + 1))
  const manifest = [{ Config: 'config.json', RepoTags: [`debian-${architecture}:${TAG}`], Layers: layers }]
  await writeFile(join(content, 'manifest.json'), JSON.stringify(manifest))
  const documents = ['-C', content, 'manifest.json', 'config.json']
  await run('tar', ['-cf', join(folder, `${architecture}.tar`), ...documents, '-C', folder, ...layers])
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
