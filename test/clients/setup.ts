import type { TestContext } from 'node:test'
import { startRegistry, type TestRegistry } from '../harness.ts'
import { type DebianImages, debianImages } from './debian-images.ts'
import { RegistryContent } from './registry-content.ts'
import { createSandbox, type Sandbox } from './sandbox.ts'

/** All that the test of one client stands on. */
export interface Setup {
  readonly registry: TestRegistry
  /** What the registry serves, read without the client. */
  readonly content: RegistryContent
  readonly images: DebianImages
  readonly sandbox: Sandbox
}

/** Starts a registry of the test's own, and makes the images and the client's home. */
export async function prepare(t: TestContext): Promise<Setup> {
  const images = await debianImages()
  const registry = await startRegistry(t)
  return { images, registry, content: new RegistryContent(registry.url), sandbox: await createSandbox(t) }
}
