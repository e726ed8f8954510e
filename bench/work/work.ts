import type { Options } from '../options.ts'
import { GIB, KIB, MIB } from '../client/payload.ts'
import type { Cost, Server } from '../servers/server.ts'
import type { Unit } from '../report/statistics.ts'

/** One figure of one round. */
export interface Reading {
  readonly unit: Unit
  readonly value: number
}

/** What the measured server is asked to do. Each unit of its readings becomes a row of a table. */
export interface Case {
  readonly label: string
  /** A remark on one peer's figures, for a case that is not like for like. */
  readonly remark?: string
  /**
   * Does the work once and checks every answer.
   * @param round 0 is the warm-up, whose readings are dropped and which may verify more than the others
   * @throws Error when an answer is wrong: the row then says that this server failed
   */
  measure(server: Server, round: number): Promise<readonly Reading[]>
}

/** Cases that need the same data. */
export interface Work {
  /** For `--only`. */
  readonly name: string
  readonly cases: readonly Case[]
  /** True when what is no registry takes part, as the limit. */
  readonly includesLimit: boolean
  /** True when no peer can do it: the figures then stand alone. */
  readonly isOwn?: boolean
  /** True when the cases start and stop the server themselves; else it runs from before `prepare` to the end. */
  readonly startsServers: boolean
  /** True when the servers speak TLS. */
  readonly isSecure?: boolean
  /** Counted rounds, when they are not as many as asked for. */
  readonly rounds?: number
  /** True when there is no warm-up round, because each measurement starts from a fresh process anyway. */
  readonly skipsWarmUp?: boolean
  /** Puts the data into an empty server. It is called once for each, before the first round. */
  prepare(server: Server): Promise<void>
}

/** Makes a work for the sizes that the options ask for. */
export type MakeWork = (options: Options) => Work

/** The readings of a transfer: its speed and the processor time that it cost the server. */
export function transferReadings(sizeBytes: number, cost: Cost): readonly Reading[] {
  return [
    { unit: 'MB/s', value: sizeBytes / 1_000_000 / cost.seconds },
    { unit: 'cpu s/GiB', value: cost.serverCpuSeconds / (sizeBytes / GIB) },
  ]
}

/** `1 client`, `8 clients`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

/** `64 KiB`, `256 MiB`, `1 GiB`. */
export function sizeText(sizeBytes: number): string {
  if (sizeBytes >= GIB) return `${sizeBytes / GIB} GiB`
  return sizeBytes >= MIB ? `${sizeBytes / MIB} MiB` : `${sizeBytes / KIB} KiB`
}
