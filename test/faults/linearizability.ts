/** What a client did, and what it was told: from `begin` to `end` on a clock that all clients share. */
export interface Observation<State> {
  readonly begin: number
  readonly end: number
  readonly text: string
  /** The state after it, or undefined when what was told cannot have happened in this state. */
  readonly apply: (state: State) => State | undefined
}

/**
 * Looks for an order of all observations in which each one follows those that had ended before it began, and in which
 * each was told the truth (Herlihy and Wing, "Linearizability", 1990; the search is Wing's and Gong's).
 * @param clients what each client observed, one after the other
 * @returns whether there is one
 */
export function isLinearizable<State extends string>(
  clients: readonly (readonly Observation<State>[])[],
  initial: State,
): boolean {
  const refuted = new Set<string>()
  const search = (positions: readonly number[], state: State): boolean => {
    const next = clients.map((observations, client) => observations[positions[client] ?? 0])
    if (next.every((observation) => observation === undefined)) return true
    const key = `${positions.join()} ${state}`
    if (refuted.has(key)) return false
    const firstEnd = Math.min(...next.map((observation) => observation?.end ?? Infinity))
    for (const [client, observation] of next.entries()) {
      if (observation === undefined || observation.begin > firstEnd) continue
      const after = observation.apply(state)
      if (after !== undefined && search(positions.with(client, (positions[client] ?? 0) + 1), after)) return true
    }
    refuted.add(key)
    return false
  }
  return search(
    clients.map(() => 0),
    initial,
  )
}
