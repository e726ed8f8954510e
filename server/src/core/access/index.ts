/**
 * Who may do what: every route declares the action that it needs, and `decide` alone answers.
 * There are no accounts yet: everybody is anonymous, and `auth.anonymous` lists what anonymous callers may do.
 */
import { RegistryError } from '@entrepot/oci'

/** What a caller can ask for. Routes declared `public`, such as health, tell nobody anything and never ask. */
export const ACTIONS = ['pull', 'push', 'delete', 'catalog', 'metrics'] as const
export type Action = (typeof ACTIONS)[number]

/** Decides, for each request, whether its caller may do what it asks for. */
export interface Access {
  /**
   * @param repository the repository's name, where the action is on one.
   * @throws RegistryError DENIED, or UNSUPPORTED for what nobody may do because it is switched off
   */
  decide(action: Action, repository?: string): void
  /** The same question where a refusal is no error: what may not be read is treated as absent. */
  allows(action: Action, repository?: string): boolean
  /** Whether anyone may pull, so that others may keep what is pulled. */
  isPublic(repository: string): boolean
}

/** What the operator allows. */
export interface AccessOptions {
  /** What callers without credentials may do. */
  readonly anonymousActions: readonly Action[]
  /** Nothing may be changed while the storage is maintained. */
  readonly isReadOnly: boolean
  readonly isDeleteEnabled: boolean
}

/** Whether a route's right is an action that somebody can be allowed. */
export function isAction(text: string): text is Action {
  return ACTIONS.some((action) => action === text)
}

/** The one place where rights are decided, out of what the operator allows. */
export function createAccess(options: AccessOptions): Access {
  const refuse = (action: Action, repository: string | undefined): RegistryError | undefined => {
    const detail = { action, repository }
    if (options.isReadOnly && (action === 'push' || action === 'delete')) {
      return new RegistryError('UNSUPPORTED', 'the registry is read-only for maintenance; try again later', { detail })
    }
    if (!options.isDeleteEnabled && action === 'delete') {
      return new RegistryError('UNSUPPORTED', 'deleting is disabled; "storage.delete.enabled: true" enables it', {
        detail,
      })
    }
    if (options.anonymousActions.includes(action)) return undefined
    return new RegistryError('DENIED', `"${action}" needs a right that callers without credentials do not have here`, {
      detail,
    })
  }
  return {
    decide: (action, repository) => {
      const refusal = refuse(action, repository)
      if (refusal !== undefined) throw refusal
    },
    allows: (action, repository) => refuse(action, repository) === undefined,
    isPublic: () => options.anonymousActions.includes('pull'),
  }
}
