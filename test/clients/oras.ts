import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

/** Copies what a layout names to the registry. */
export async function orasPush(sandbox: Sandbox, layout: OciLayout, reference: string): Promise<void> {
  const source = `${layout.folder}:${TAG}`
  await sandbox.run('oras', 'cp', '--no-tty', '--from-oci-layout', source, '--to-plain-http', reference)
}

/** Copies from the registry into a new OCI layout. */
export async function orasPull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<OciLayout> {
  const folder = sandbox.newPath('oras')
  const target = ['--to-oci-layout', `${folder}:${TAG}`]
  await sandbox.run('oras', 'cp', '--no-tty', ...options, '--from-plain-http', reference, ...target)
  return new OciLayout(folder)
}

export function oras(sandbox: Sandbox): Client {
  return {
    name: 'oras',
    push: async (images, reference) => orasPush(sandbox, images.single, reference),
    pull: async (reference) => (await orasPull(sandbox, reference)).held(),
  }
}
