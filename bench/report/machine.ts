import { statfsSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { GIB } from '../client/payload.ts'
import { outputOf } from '../programs.ts'

/** One line each: what the figures were measured on. */
export function describeMachine(folder: string): readonly string[] {
  const free = statfsSync(folder)
  return [
    `Linux ${release()}, ${process.arch}`,
    `${availableParallelism()} CPUs (${cpus()[0]?.model ?? 'unknown model'}), ${gibibytes(totalmem())} of memory`,
    `data on ${fileSystemOf(folder)}, ${gibibytes(free.bavail * free.bsize)} free`,
    `load average before the run: ${loadavg()
      .map((load) => load.toFixed(2))
      .join(', ')}`,
  ]
}

function fileSystemOf(folder: string): string {
  return outputOf('df', ['--output=fstype', folder])?.split('\n')[1] ?? 'an unknown file system'
}

function gibibytes(sizeBytes: number): string {
  return `${(sizeBytes / GIB).toFixed(0)} GiB`
}
