/** What takes so long makes us ask whether the server is still there. */
const SUSPICION_MS = 2_000

/**
 * Finds servers that say nothing more, such as those whose machine or network is gone: no connection to them ends by
 * itself, and a statement may take long for a good reason. While one does, the server is asked for another connection.
 */
export class SilenceWatch<Server extends object> {
  readonly #ask: (server: Server) => Promise<boolean>
  readonly #asked = new Map<Server, Promise<boolean>>()

  /** @param ask whether a server answers at all; it may not take long. */
  constructor(ask: (server: Server) => Promise<boolean>) {
    this.#ask = ask
  }

  /**
   * Runs work that waits for a server.
   * @param giveUp ends the work, as the server does not answer any more.
   */
  async during<Result>(server: Server, work: () => Promise<Result>, giveUp: () => void): Promise<Result> {
    let isOver = false
    const look = async () => {
      if (!(await this.#answers(server)) && !isOver) giveUp()
    }
    const timer = setInterval(() => void look(), SUSPICION_MS)
    try {
      return await work()
    } finally {
      isOver = true
      clearInterval(timer)
    }
  }

  /** Many wait for the same server: it is asked once. */
  async #answers(server: Server): Promise<boolean> {
    const asked = this.#asked.get(server) ?? this.#ask(server).finally(() => this.#asked.delete(server))
    this.#asked.set(server, asked)
    return asked
  }
}
