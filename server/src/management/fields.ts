import { RegistryError } from '@entrepot/oci'

/** A field of a query or of a body, which may be anything; undefined where it is no text. */
export function fieldOf(source: unknown, name: string): string | undefined {
  const value: unknown = typeof source === 'object' && source !== null ? Reflect.get(source, name) : undefined
  return typeof value === 'string' ? value : undefined
}

/** @throws RegistryError UNSUPPORTED (400) when it is missing */
export function requiredField(source: unknown, name: string): string {
  const value = fieldOf(source, name)
  if (value !== undefined) return value
  throw new RegistryError('UNSUPPORTED', `the request says no "${name}"`, { status: 400 })
}
