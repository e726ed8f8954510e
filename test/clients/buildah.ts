import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { listAt, parseJson, textAt } from './json.ts'
import type { HeldImage, OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

const NO_TLS = '--tls-verify=false'

export async function buildahRun(sandbox: Sandbox, ...args: string[]): Promise<string> {
  return (await sandbox.runIsolated('buildah', ...args)).trim()
}

/** Takes an image out of an OCI layout into Buildah's storage; gives its id. */
export async function buildahLoad(sandbox: Sandbox, layout: OciLayout): Promise<string> {
  return buildahRun(sandbox, 'pull', '--quiet', `oci:${layout.folder}:${TAG}`)
}

export async function buildahPush(
  sandbox: Sandbox,
  id: string,
  reference: string,
  ...options: string[]
): Promise<string> {
  const digestFile = sandbox.newPath('digest')
  const written = ['--quiet', NO_TLS, '--digestfile', digestFile]
  await buildahRun(sandbox, 'push', ...written, ...options, id, `docker://${reference}`)
  return (await sandbox.run('cat', digestFile)).trim()
}

/** Pulls into empty storage: an image that Buildah already has keeps the digest under which it first came. */
export async function buildahPull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<HeldImage> {
  await buildahRun(sandbox, 'rmi', '--all', '--force')
  const id = await buildahRun(sandbox, 'pull', '--quiet', NO_TLS, ...options, reference)
  const image = parseJson(await buildahRun(sandbox, 'inspect', '--type', 'image', id))
  return {
    digest: textAt(image, 'FromImageDigest'),
    config: `sha256:${textAt(image, 'FromImageID')}`,
    diffIds: listAt(image, 'OCIv1', 'rootfs', 'diff_ids').map(String),
  }
}

export function buildah(sandbox: Sandbox): Client {
  return {
    name: 'buildah',
    push: async (images, reference) =>
      void (await buildahPush(sandbox, await buildahLoad(sandbox, images.single), reference)),
    pull: async (reference) => buildahPull(sandbox, reference),
  }
}
