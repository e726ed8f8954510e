import type { Client } from './client.ts'
import { TAG } from './debian-images.ts'
import { OciLayout } from './oci-layout.ts'
import type { Sandbox } from './sandbox.ts'

/** Runs regctl against a registry without TLS; `settings` are further keys of its `--host`. */
export async function regctlRun(sandbox: Sandbox, reference: string, ...args: string[]): Promise<string> {
  const [host] = reference.split('/')
  return sandbox.run('regctl', '--host', `reg=${host},tls=disabled`, ...args)
}

/** Copies what a layout names to the registry. */
export async function regctlPush(sandbox: Sandbox, layout: OciLayout, reference: string): Promise<void> {
  await regctlRun(sandbox, reference, 'image', 'copy', `ocidir://${layout.folder}:${TAG}`, reference)
}

/** Copies from the registry into a new OCI layout. */
export async function regctlPull(sandbox: Sandbox, reference: string, ...options: string[]): Promise<OciLayout> {
  const folder = sandbox.newPath('regctl')
  await regctlRun(sandbox, reference, 'image', 'copy', ...options, reference, `ocidir://${folder}:${TAG}`)
  return new OciLayout(folder)
}

export function regctl(sandbox: Sandbox): Client {
  return {
    name: 'regctl',
    push: async (images, reference) => regctlPush(sandbox, images.single, reference),
    pull: async (reference) => (await regctlPull(sandbox, reference)).held(),
  }
}
