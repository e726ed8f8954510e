import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, rm, statfs, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { areProgramsPresent, attempt, run, skipUnlessRequired } from '../clients/programs.ts'

const SIZE_BYTES = 64 * 1024 * 1024

/** A file system of 64 MiB, or another size, that nothing else uses. */
export interface SmallDisk {
  readonly folder: string
  /** How many bytes can still be written. */
  freeBytes(): Promise<number>
  /** Takes all that is free, to the last block. */
  fill(): void
  /** Gives back what `fill` has taken. */
  free(): Promise<void>
  /** Mounts a copy of what the disk has for the time of the work; what is only in memory is missing, as after a power cut. */
  withCopy(t: TestContext, work: (folder: string) => Promise<void>): Promise<void>
}

export interface SmallDiskOptions {
  readonly sizeBytes?: number
  /** Further options of the mount. */
  readonly mountOptions?: string
}

/**
 * Mounts an ext4 image for the time of the work; root's reserve is off, or root could never fill it.
 * Where that cannot be done the test is skipped, or fails in the gate.
 */
export async function withSmallDisk(
  t: TestContext,
  work: (disk: SmallDisk) => Promise<void>,
  { sizeBytes = SIZE_BYTES, mountOptions = 'defaults' }: SmallDiskOptions = {},
): Promise<void> {
  if (!areProgramsPresent(t, ['mkfs.ext4', 'mount', 'umount'])) return
  const home = await mkdtemp(join(tmpdir(), 'entrepot-disk-'))
  try {
    const image = join(home, 'image')
    await writeFile(image, '')
    await truncate(image, sizeBytes)
    await run('mkfs.ext4', ['-q', '-m', '0', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image])
    await withMounted(t, { image, mountOptions }, async (folder) => work(smallDisk(folder, image)))
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

async function withMounted(
  t: TestContext,
  { image, mountOptions }: { image: string; mountOptions: string },
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = `${image}-mounted`
  await mkdir(folder)
  const mounted = await attempt('mount', ['-o', `loop,${mountOptions}`, image, folder])
  if (mounted.exitCode !== 0) {
    skipUnlessRequired(t, `an image cannot be mounted here: ${mounted.stderr.trim()}`)
    return
  }
  try {
    await work(folder)
  } finally {
    await run('umount', [folder])
  }
}

function smallDisk(folder: string, image: string): SmallDisk {
  const filler = join(folder, 'filler')
  return {
    folder,
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    },
    fill: () => {
      for (const sizeBytes of [1024 * 1024, 64 * 1024, 1024]) appendUntilFull(filler, Buffer.alloc(sizeBytes, 1))
    },
    free: async () => rm(filler),
    withCopy: async (t, work) => {
      const copy = `${image}-copy`
      await run('cp', ['--sparse=always', image, copy])
      await withMounted(t, { image: copy, mountOptions: 'defaults' }, work)
    },
  }
}

function appendUntilFull(file: string, bytes: Buffer): void {
  const descriptor = openSync(file, 'a')
  try {
    for (;;) writeSync(descriptor, bytes)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
