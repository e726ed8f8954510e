import { z } from 'zod'
import { configSchema } from './schema.ts'

/** A place in the configuration: a section with keys, a map with free keys, a value, or a key of a list's entries. */
export interface SchemaNode {
  readonly path: readonly string[]
  readonly kind: 'section' | 'map' | 'value' | 'entry'
  readonly schema: z.ZodType
}

/** Every place of the schema, sections before what they contain. */
export const SCHEMA_NODES: readonly SchemaNode[] = [...walk(configSchema, [])]

/** The keys that a section takes. */
export function keysOf(path: readonly string[]): string[] {
  return SCHEMA_NODES.filter((node) => node.path.length === path.length + 1 && startsWith(node.path, path)).map(
    (node) => node.path[path.length] ?? '',
  )
}

export function startsWith(path: readonly string[], beginning: readonly string[]): boolean {
  return beginning.every((key, index) => path[index] === key)
}

/** The schema inside its default, if it has one, and whether it may be left out. */
function unwrap(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return unwrap(schema.unwrap())
  }
  return schema
}

function* walk(schema: z.ZodType, path: readonly string[]): Generator<SchemaNode> {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodObject) {
    if (path.length > 0) yield { path, kind: 'section', schema }
    for (const [key, child] of fieldsOf(inner)) yield* walk(child, [...path, key])
    return
  }
  yield { path, kind: inner instanceof z.ZodRecord ? 'map' : 'value', schema }
  if (!(inner instanceof z.ZodArray)) return
  for (const [key, child] of fieldsOf(inner.element)) yield { path: [...path, key], kind: 'entry', schema: child }
}

function fieldsOf(schema: unknown): [string, z.ZodType][] {
  if (!(schema instanceof z.ZodObject)) return []
  return Object.entries(schema.shape).filter((entry): entry is [string, z.ZodType] => entry[1] instanceof z.ZodType)
}
