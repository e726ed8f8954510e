/** Every kind of finding and how much it matters; programs rely on these names, and `docs/reference/fsck.md` explains them. */
export const SEVERITIES = {
  'database-missing': 'error',
  'database-unreadable': 'error',
  'database-damaged': 'error',
  'database-version': 'error',
  'row-invalid': 'error',
  'row-dangling': 'error',
  'row-wrong': 'error',
  'children-wrong': 'error',
  'child-missing': 'error',
  'content-missing': 'error',
  'content-damaged': 'error',
  'content-unreadable': 'error',
  'content-not-a-file': 'error',
  permissions: 'notice',
  'content-unused': 'notice',
  'file-without-row': 'notice',
  'upload-without-row': 'notice',
  'name-wrong': 'notice',
  'inventory-wrong': 'notice',
  'stray-name': 'notice',
  quarantined: 'notice',
} as const

export type FindingKind = keyof typeof SEVERITIES

/** Something that is not as it should be. */
export interface Finding {
  readonly kind: FindingKind
  /** Errors concern what clients are served; notices concern leftovers that harm nobody. */
  readonly severity: 'error' | 'notice'
  readonly digest?: string
  readonly repository?: string
  /** What is wrong, and what a person does about it. */
  readonly message: string
}

/** Makes a finding; `where` says of which content and repository, as far as that is known. */
export function finding(
  kind: FindingKind,
  message: string,
  where: { digest?: string | null | undefined; repository?: string | null | undefined } = {},
): Finding {
  return {
    kind,
    severity: SEVERITIES[kind],
    ...(where.digest ? { digest: where.digest } : {}),
    ...(where.repository ? { repository: where.repository } : {}),
    message,
  }
}

/** How much a check has looked at; it grows while the check goes on. */
export class Checked {
  repositories = 0
  manifests = 0
  tags = 0
  /** Contents that the database knows. */
  blobs = 0
  uploads = 0
  /** Files in the store. */
  files = 0
  /** Bytes that were read and hashed. */
  hashedBytes = 0
}
