import { readdirSync, readFileSync } from 'node:fs'

/** Linux counts processor time for user space in hundredths of a second (USER_HZ). */
const TICKS_PER_SECOND = 100
const KIB_PER_MIB = 1024

/** Processor time, in seconds, that a process and all its living descendants have used since they started. */
export function cpuSecondsOf(pid: number): number {
  return sumOverTree(pid, ({ statFields }) => {
    // Fields 14 and 15 of proc(5) /proc/pid/stat, counted after the name, which is field 2.
    const [userTicks, systemTicks] = [Number(statFields[11]), Number(statFields[12])]
    return (userTicks + systemTicks) / TICKS_PER_SECOND
  })
}

/** Resident memory, in MiB, of a process and its descendants at this moment. */
export function residentMebibytesOf(pid: number): number {
  return sumOverTree(pid, ({ pid }) => statusMebibytes(pid, 'VmRSS'))
}

/** The highest resident memory, in MiB, that each process of the tree has had, added up. */
export function peakResidentMebibytesOf(pid: number): number {
  return sumOverTree(pid, ({ pid }) => statusMebibytes(pid, 'VmHWM'))
}

interface ProcessEntry {
  readonly pid: number
  readonly parentPid: number
  readonly statFields: readonly string[]
}

function sumOverTree(rootPid: number, valueOf: (entry: ProcessEntry) => number): number {
  const entries = listProcesses()
  const tree = new Set([rootPid])
  let sizeBefore = 0
  while (tree.size > sizeBefore) {
    sizeBefore = tree.size
    for (const entry of entries) if (tree.has(entry.parentPid)) tree.add(entry.pid)
  }
  return entries.filter((entry) => tree.has(entry.pid)).reduce((sum, entry) => sum + valueOf(entry), 0)
}

function listProcesses(): ProcessEntry[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const stat = readIfThere(`/proc/${name}/stat`)
      if (stat === undefined) return []
      // The name stands in brackets and may contain anything, brackets and spaces included.
      const statFields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return [{ pid: Number(name), parentPid: Number(statFields[1]), statFields }]
    })
}

function statusMebibytes(pid: number, field: string): number {
  const status = readIfThere(`/proc/${pid}/status`) ?? ''
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)
  return Number(match?.[1] ?? 0) / KIB_PER_MIB
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined // the process ended between the listing and the reading
  }
}
