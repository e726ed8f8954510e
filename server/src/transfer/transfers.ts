import { type BackupCounts, type BackupOptions, type BackupSource, createBackup } from './backup.ts'
import { importDistribution, type ImportOptions } from './distribution-import.ts'
import type { Listener } from './events.ts'
import { exportImages, type ImageExportDependencies, type ImageExportOptions } from './image-export.ts'
import { type ImageImportDependencies, type ImageImportOptions, importImages } from './image-import.ts'
import type { ImportCounts } from './import-counts.ts'

/** What everything that comes in or goes out works with. */
export type TransferDependencies = ImageImportDependencies & ImageExportDependencies & BackupSource

/** What is on its way in or out, so that it can be ended before what it works with. */
export class Transfers {
  readonly #dependencies: TransferDependencies
  readonly #running = new Set<Promise<void>>()
  readonly #ending = new AbortController()

  constructor(dependencies: TransferDependencies) {
    this.#dependencies = dependencies
  }

  /** @param signal ends it after its step. @throws as `importDistribution` does */
  async importDistribution(options: ImportOptions, tell: Listener<ImportCounts>, signal: AbortSignal): Promise<void> {
    await this.#run(signal, async (signal) => importDistribution(this.#dependencies, { ...options, signal }, tell))
  }

  /** @param signal ends it after its step. @throws as `importImages` does */
  async importImages(options: ImageImportOptions, tell: Listener<ImportCounts>, signal: AbortSignal): Promise<void> {
    await this.#run(signal, async (signal) => importImages(this.#dependencies, { ...options, signal }, tell))
  }

  /** @param signal ends it: there is then no backup. @throws as `createBackup` does */
  async backup(options: BackupOptions, tell: Listener<BackupCounts>, signal: AbortSignal): Promise<void> {
    await this.#run(signal, async (signal) => createBackup(this.#dependencies, { ...options, signal }, tell))
  }

  /** @throws as `exportImages` does */
  async exportImages(options: ImageExportOptions): Promise<AsyncGenerator<Uint8Array>> {
    return exportImages(this.#dependencies, options)
  }

  /** Ends everything after its step; resolves when that has happened. */
  async end(): Promise<void> {
    this.#ending.abort(new Error('the server is shutting down; what was done stays done'))
    await Promise.allSettled(this.#running)
  }

  async #run(signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const running = work(AbortSignal.any([signal, this.#ending.signal]))
    this.#running.add(running)
    try {
      await running
    } finally {
      this.#running.delete(running)
    }
  }
}
