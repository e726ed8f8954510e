/**
 * Who may do what: every route declares the action that it needs, and `decide` alone answers.
 * There are no accounts yet: everybody is anonymous, and `auth.anonymous` lists what anonymous callers may do.
 */
import { RegistryError } from '@entrepot/oci'

/** What a caller can ask for; `public` routes, such as health, tell nobody anything and are open to all. */
export type Action = 'pull' | 'push' | 'delete' | 'catalog' | 'metrics'

export interface Access {
  /**
   * @param repository the repository's name, where the action is on one.
   * @throws RegistryError DENIED
   */
  decide(action: Action, repository?: string): void
  /** The same question where a refusal is no error: what may not be read is treated as absent. */
  allows(action: Action, repository?: string): boolean
}

/** Access for callers without credentials. */
export function createAccess(anonymousActions: readonly Action[]): Access {
  const granted = new Set(anonymousActions)
  return {
    decide: (action, repository) => {
      if (granted.has(action)) return
      const object = repository === undefined ? '' : ` on "${repository}"`
      throw new RegistryError(
        'DENIED',
        `${action}${object} is not allowed here: "auth.anonymous" does not list "${action}"`,
        {
          detail: { action, repository },
        },
      )
    },
    allows: (action) => granted.has(action),
  }
}
