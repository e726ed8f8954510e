import type { Client } from './client.ts'
import { OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

/** Pulls into a new OCI layout. */
export async function cranePull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<OciLayout> {
  const folder = sandbox.newPath('crane')
  await sandbox.run('crane', 'pull', '--format=oci', ...options, reference, folder)
  return new OciLayout(folder)
}

export function crane(sandbox: Sandbox): Client {
  return {
    name: 'crane',
    push: async (images, reference) => void (await sandbox.run('crane', 'push', images.single.folder, reference)),
    pull: async (reference) => (await cranePull(sandbox, reference)).held(),
  }
}
