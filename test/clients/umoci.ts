import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'
import { skopeoCopy } from './skopeo.ts'

/**
 * umoci makes and changes images in OCI layouts and speaks to no registry: its manual has Skopeo carry them.
 * An image that it pushes here has been unpacked and packed by it; one that it pulls is unpacked by it, which
 * checks every layer against the configuration.
 */
export async function umociPull(sandbox: Sandbox, reference: string, ...options: string[]) {
  const layout = new OciLayout(sandbox.newPath('umoci'))
  await skopeoCopy(sandbox, `docker://${reference}`, `oci:${layout.folder}:${TAG}`, ...options)
  const bundle = sandbox.newPath('bundle')
  await sandbox.run('umoci', 'unpack', '--image', `${layout.folder}:${TAG}`, bundle)
  return { layout, bundle }
}

export function umoci(sandbox: Sandbox): Client {
  return {
    name: 'umoci',
    convertsToOci: true,
    push: async (images, reference) => {
      const folder = sandbox.newPath('umoci')
      await sandbox.run('cp', '--recursive', images.single.folder, folder)
      await sandbox.run('umoci', 'config', '--image', `${folder}:${TAG}`, '--config.label', 'made.by=umoci')
      await skopeoCopy(sandbox, `oci:${folder}:${TAG}`, `docker://${reference}`)
    },
    pull: async (reference) => (await umociPull(sandbox, reference)).layout.held(),
  }
}
