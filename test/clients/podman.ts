import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { listAt, parseJson, textAt } from './json.ts'
import type { HeldImage, OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

const NO_TLS = '--tls-verify=false'

export async function podmanRun(sandbox: Sandbox, ...args: string[]): Promise<string> {
  return (await sandbox.runIsolated('podman', ...args)).trim()
}

/** Takes an image out of an OCI layout into Podman's storage; gives its id. */
export async function podmanLoad(sandbox: Sandbox, layout: OciLayout): Promise<string> {
  return podmanRun(sandbox, 'pull', '--quiet', `oci:${layout.folder}:${TAG}`)
}

export async function podmanPush(sandbox: Sandbox, id: string, reference: string, ...options: string[]): Promise<void> {
  await podmanRun(sandbox, 'push', '--quiet', NO_TLS, ...options, id, `docker://${reference}`)
}

/** Pulls into empty storage: an image that Podman already has keeps the digests under which it first came. */
export async function podmanPull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<HeldImage> {
  await podmanRun(sandbox, 'rmi', '--all', '--force')
  const id = await podmanRun(sandbox, 'pull', '--quiet', NO_TLS, ...options, reference)
  const image = parseJson(await podmanRun(sandbox, 'image', 'inspect', id))
  return {
    digest: textAt(image, 0, 'Digest'),
    config: `sha256:${textAt(image, 0, 'Id')}`,
    diffIds: listAt(image, 0, 'RootFS', 'Layers').map(String),
  }
}

export function podman(sandbox: Sandbox): Client {
  return {
    name: 'podman',
    push: async (images, reference) => podmanPush(sandbox, await podmanLoad(sandbox, images.single), reference),
    pull: async (reference) => podmanPull(sandbox, reference),
  }
}
