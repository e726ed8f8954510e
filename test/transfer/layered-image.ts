import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { type Descriptor, digestOf, imageDocument, json, mediaTypes, randomBlob, typed } from '../content.ts'
import type { RegistryClient } from '../registry-client.ts'

const run = promisify(execFile)

/** An image that programs can unpack. */
export interface LayeredImage {
  readonly bytes: Buffer
  readonly descriptor: Descriptor
  /** Its only layer, before it was compressed. */
  readonly layerTar: Buffer
}

/** Pushes an image of one layer with one file, under a tag. */
export async function pushLayeredImage(client: RegistryClient, name: string, tag: string): Promise<LayeredImage> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-layer-'))
  try {
    await mkdir(join(folder, 'root'))
    await writeFile(join(folder, 'root', 'file'), randomBlob(3_000))
    const { stdout } = await run('tar', ['-cf', '-', '-C', join(folder, 'root'), 'file'], { encoding: 'buffer' })
    const config = json({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestOf(stdout)] },
    })
    const descriptors = [await client.pushBlob(name, config), await client.pushBlob(name, gzipSync(stdout))]
    const [first, second] = descriptors
    if (first === undefined || second === undefined) throw new Error('two blobs were pushed')
    const bytes = imageDocument(typed(first, mediaTypes.config), [second])
    const descriptor = await client.pushManifest(name, bytes, mediaTypes.image, { reference: tag })
    return { bytes, descriptor, layerTar: stdout }
  } finally {
    await rm(folder, { recursive: true })
  }
}
