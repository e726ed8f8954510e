import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { at, listAt, parseJson } from './json.ts'
import { type Descriptor, descriptorAt, descriptors, type HeldImage, OciLayout, sha256 } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

const NO_TLS = ['--src-tls-verify=false', '--dest-tls-verify=false']

/** Runs `skopeo copy` between any two of its transports. */
export async function skopeoCopy(sandbox: Sandbox, from: string, to: string, ...options: string[]): Promise<void> {
  await sandbox.runIsolated('skopeo', 'copy', '--quiet', ...NO_TLS, ...options, from, to)
}

/** Copies from the registry into a new OCI layout. */
export async function skopeoPull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<OciLayout> {
  const folder = sandbox.newPath('skopeo')
  await skopeoCopy(sandbox, `docker://${reference}`, `oci:${folder}:${TAG}`, ...options)
  return new OciLayout(folder)
}

/** Pulls into a folder of Skopeo's own kind, which alone keeps manifests in Docker's format as they come. */
async function skopeoHeld(sandbox: Sandbox, reference: string): Promise<HeldImage> {
  const folder = sandbox.newPath('skopeo')
  await skopeoCopy(sandbox, `docker://${reference}`, `dir:${folder}`)
  const blob = async (descriptor: Descriptor) => {
    const bytes = await readFile(join(folder, descriptor.digest.replace('sha256:', '')))
    if (sha256(bytes) !== descriptor.digest) throw new Error(`${descriptor.digest} in ${folder} is damaged`)
    return bytes
  }
  const bytes = await readFile(join(folder, 'manifest.json'))
  const manifest = parseJson(bytes)
  for (const layer of descriptors(listAt(manifest, 'layers'))) await blob(layer)
  const config = descriptorAt(manifest, 'config')
  const diffIds = at(parseJson(await blob(config)), 'rootfs', 'diff_ids')
  const held = Array.isArray(diffIds) ? diffIds.map(String) : []
  return { digest: sha256(bytes), config: config.digest, diffIds: held }
}

export function skopeo(sandbox: Sandbox): Client {
  return {
    name: 'skopeo',
    push: async (images, reference) =>
      skopeoCopy(sandbox, `oci:${images.single.folder}:${TAG}`, `docker://${reference}`),
    pull: async (reference) => skopeoHeld(sandbox, reference),
  }
}
