import { RegistryError } from '@entrepot/oci'

/** A field of a query or of a body, which may be anything; undefined where it is no text. */
export function fieldOf(source: unknown, name: string): string | undefined {
  const value: unknown = typeof source === 'object' && source !== null ? Reflect.get(source, name) : undefined
  return typeof value === 'string' ? value : undefined
}

/**
 * A field as a whole number of 1 or more; undefined where it is missing.
 * @throws RegistryError UNSUPPORTED (400) when it is something else
 */
export function numberField(source: unknown, name: string): number | undefined {
  const text = fieldOf(source, name)
  if (text === undefined) return undefined
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new RegistryError('UNSUPPORTED', `"${name}" must be a whole number of 1 or more`, { status: 400 })
}

/** @throws RegistryError UNSUPPORTED (400) when it is missing, or no whole number of 1 or more */
export function requiredNumber(source: unknown, name: string): number {
  const value = numberField(source, name)
  if (value !== undefined) return value
  throw new RegistryError('UNSUPPORTED', `the request says no "${name}"`, { status: 400 })
}

/** @throws RegistryError UNSUPPORTED (400) when it is missing */
export function requiredField(source: unknown, name: string): string {
  const value = fieldOf(source, name)
  if (value !== undefined) return value
  throw new RegistryError('UNSUPPORTED', `the request says no "${name}"`, { status: 400 })
}
