import type { Readable } from 'node:stream'

/** Everything that runs, and how to end it. */
export interface Registry {
  /** Starts to answer; gives the URL. */
  listen(): Promise<string>
  /** Ends requests in peace, then everything else. */
  close(): Promise<void>
}

export interface ManagementOptions {
  /** Whether a registry is made where there is none. */
  readonly isCreating: boolean
}

/** The operations on a data folder, in a process that has opened it. */
export interface Management {
  /** Carries one out as a request over the socket would. */
  request(method: 'GET' | 'POST' | 'DELETE', url: string, body?: object): Promise<{ status: number; body: Readable }>
  close(): Promise<void>
}
