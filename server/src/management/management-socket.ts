import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { HttpServer } from '#platform/http'
import type { Logger } from '#platform/log'

const OWNER_ONLY = 0o600

/** The unix socket of the server that works in a data folder. */
export function socketIn(folder: string): string {
  return join(folder, 'entrepot.sock')
}

/**
 * Listens on a unix socket that only its owner may use; what a killed server left there is replaced. Of several servers
 * that share a folder the first has it: whichever it is, it does the same. Where that cannot be, as where the path is longer than the system's 107 bytes, it is
 * logged and the server does without: pulls and pushes need no socket.
 */
export async function listenOnSocket(server: HttpServer, path: string, log: Logger): Promise<void> {
  if (await accepts(path)) {
    log.info({ socket: path }, 'another server that shares the data folder takes the commands')
    return
  }
  try {
    await rm(path, { force: true })
    await server.listen()
    await chmod(path, OWNER_ONLY)
  } catch (error) {
    log.warn(
      { err: error },
      `commands cannot reach this server, for the socket ${path} cannot be used: a path has 107 bytes at most`,
    )
  }
}

async function accepts(path: string): Promise<boolean> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
