import * as z from 'zod'
import { configSchema } from './schema.ts'

/** A place in the configuration: a section with keys, a map with free keys, a value, or a key of a list's entries. */
export interface SchemaNode {
  readonly path: readonly string[]
  readonly kind: 'section' | 'map' | 'value' | 'entry'
  readonly schema: z.ZodType
  /** Of a list: what its elements are. */
  readonly element?: z.ZodType | undefined
  /** Of an entry: the list. */
  readonly list?: readonly string[]
}

/** Every place of the schema, sections before what they contain. */
export const SCHEMA_NODES: readonly SchemaNode[] = [...walk(configSchema, [])]

/** The keys that a section takes. */
export function keysOf(path: readonly string[]): string[] {
  const below = SCHEMA_NODES.filter((node) => node.path.length > path.length && startsWith(node.path, path))
  return [...new Set(below.map((node) => node.path[path.length] ?? ''))]
}

/** Whether a path begins with another. */
export function startsWith(path: readonly string[], beginning: readonly string[]): boolean {
  return beginning.every((key, index) => path[index] === key)
}

/** The schema inside its default, if it has one, and whether it may be left out. */
export function unwrap(schema: unknown): { inner: unknown; byDefault: unknown; isOptional: boolean } {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return { ...unwrap(schema.unwrap()), byDefault: schema.def.defaultValue }
  }
  if (schema instanceof z.ZodOptional) return { ...unwrap(schema.unwrap()), isOptional: true }
  return { inner: schema, byDefault: undefined, isOptional: false }
}

function* walk(schema: z.ZodType, path: readonly string[]): Generator<SchemaNode> {
  const { inner } = unwrap(schema)
  if (inner instanceof z.ZodObject) {
    if (path.length > 0) yield { path, kind: 'section', schema }
    for (const [key, child] of fieldsOf(inner)) yield* walk(child, [...path, key])
    return
  }
  const element = inner instanceof z.ZodArray && inner.element instanceof z.ZodType ? inner.element : undefined
  yield { path, kind: inner instanceof z.ZodRecord ? 'map' : 'value', schema, element }
  yield* walkEntry(element, path, path)
}

function* walkEntry(schema: unknown, list: readonly string[], path: readonly string[]): Generator<SchemaNode> {
  for (const [key, child] of fieldsOf(schema)) {
    const { inner } = unwrap(child)
    yield { path: [...path, key], kind: 'entry', schema: child, list }
    if (inner instanceof z.ZodObject) yield* walkEntry(inner, list, [...path, key])
  }
}

function fieldsOf(schema: unknown): [string, z.ZodType][] {
  if (!(schema instanceof z.ZodObject)) return []
  return Object.entries(schema.shape).filter((entry): entry is [string, z.ZodType] => entry[1] instanceof z.ZodType)
}
