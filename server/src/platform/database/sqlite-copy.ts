import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/**
 * Copies one state of an SQLite database into a new file, in a thread, for it takes as long as reading all of it.
 * @throws the engine's error.
 */
export async function copySqlite(file: string, target: string): Promise<void> {
  const worker = new Worker(new URL('./sqlite-copy-worker.ts', import.meta.url), { workerData: { file, target } })
  // It rejects with the error that the thread ends with.
  await once(worker, 'exit')
}
