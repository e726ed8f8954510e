import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../harness.ts'
import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { type HeldImage, OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

const START_TIMEOUT_MS = 60_000

/** A containerd of this test's own, spoken to by `ctr`. */
export interface Containerd {
  readonly socket: string
  ctr(...args: string[]): Promise<string>
  /** Takes what a layout names into containerd's content store, under a reference with the tag of the layout. */
  load(layout: OciLayout, reference: string): Promise<void>
  /** Removes every image with its content. */
  forget(): Promise<void>
  /** What the image is, each of its blobs in containerd's content store read and checked. */
  held(reference: string): Promise<HeldImage>
}

export async function startContainerd(sandbox: Sandbox): Promise<Containerd> {
  const folder = sandbox.newPath('containerd')
  const socket = `${folder}.sock`
  const settings = `${folder}.toml`
  await writeFile(
    settings,
    `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${socket}"
`,
  )
  const daemon = sandbox.startDaemon('containerd', '--config', settings)
  await until(
    async () => {
      if (!daemon.isRunning()) throw new Error(`containerd ended:\n${daemon.output()}`)
      return (await sandbox.attempt('ctr', '--address', socket, 'version')).exitCode === 0
    },
    START_TIMEOUT_MS,
    () => `containerd did not become ready:\n${daemon.output()}`,
  )
  const ctr = async (...args: string[]) => sandbox.run('ctr', '--address', socket, ...args)
  const names = async () => (await ctr('images', 'ls', '--quiet')).split('\n').filter((name) => name !== '')
  // The content store has the folders of an OCI layout, without its index.
  const store = new OciLayout(join(folder, 'root/io.containerd.content.v1.content'))
  return {
    socket,
    ctr,
    load: async (layout, reference) => {
      const archive = sandbox.newPath('archive')
      await sandbox.run('tar', '-C', layout.folder, '-cf', archive, '.')
      const base = reference.slice(0, reference.lastIndexOf(':'))
      await ctr('images', 'import', '--no-unpack', '--all-platforms', '--base-name', base, archive)
      if (reference !== `${base}:${TAG}`) await ctr('images', 'tag', `${base}:${TAG}`, reference)
    },
    forget: async () => {
      const all = await names()
      if (all.length > 0) await ctr('images', 'rm', '--sync', ...all)
    },
    held: async (reference) => {
      const line = (await ctr('images', 'ls', `name==${reference}`)).split('\n')[1] ?? ''
      const [, , digest] = line.split(/\s+/)
      if (digest === undefined) throw new Error(`containerd has no ${reference}`)
      return store.heldAt(digest)
    },
  }
}

export async function containerdPull(
  containerd: Containerd,
  reference: string,
  ...options: string[]
): Promise<HeldImage> {
  await containerd.forget()
  await containerd.ctr('images', 'pull', '--plain-http', ...options, reference)
  return containerd.held(reference)
}

export function containerdClient(containerd: Containerd): Client {
  return {
    name: 'containerd',
    push: async (images, reference) => {
      // It remembers, by host without port, which repositories have a blob, and would mount it from there.
      await containerd.forget()
      await containerd.load(images.single, reference)
      await containerd.ctr('images', 'push', '--plain-http', reference)
    },
    pull: async (reference) => containerdPull(containerd, reference),
  }
}
