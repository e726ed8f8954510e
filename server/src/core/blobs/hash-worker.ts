import { createHash, type Hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import type { HashOrder, HashReply } from './hash-thread.ts'
import { writeChunksSync } from './write-chunks.ts'

/** Digests in the making, by the number that the other side gave them. */
const hashes = new Map<number, Hash>()

function hashOf(key: number): Hash {
  const hash = hashes.get(key)
  if (hash === undefined) throw new Error(`no digest is in the making under ${key}`)
  return hash
}

function carryOut(order: HashOrder): void {
  switch (order.verb) {
    case 'begin':
      hashes.set(order.key, createHash(order.algorithm))
      break
    case 'update':
      for (const buffer of order.buffers) hashOf(order.key).update(new Uint8Array(buffer))
      reply({ buffers: order.buffers, digest: '', failure: undefined }, order.buffers)
      break
    case 'write':
      reply({ buffers: [], digest: '', failure: write(order) })
      break
    case 'copy':
      hashes.set(order.key, hashOf(order.from).copy())
      break
    case 'digest':
      reply({ buffers: [], digest: hashOf(order.key).copy().digest('hex'), failure: undefined })
      break
    case 'drop':
      hashes.delete(order.key)
      break
  }
}

function write({ key, buffers, target }: HashOrder & { verb: 'write' }): HashReply['failure'] {
  const chunks = buffers.map((buffer) => new Uint8Array(buffer))
  for (const chunk of chunks) hashOf(key).update(chunk)
  try {
    writeChunksSync(chunks, target)
    return undefined
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    return { message: error.message, code: String(error.code) }
  }
}

function reply(answer: HashReply, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(answer, moved)
}

parentPort?.on('message', carryOut)
