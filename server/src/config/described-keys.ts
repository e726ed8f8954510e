import * as z from 'zod'
import { SCHEMA_NODES, type SchemaNode, unwrap } from './schema-tree.ts'

/** What may stand for a key, for those who write a file. */
export interface DescribedValue {
  readonly kind: 'choice' | 'duration' | 'flag' | 'map' | 'number' | 'text' | 'url'
  /** What can be chosen, where only some words are possible. */
  readonly choices: readonly string[]
  readonly isList: boolean
}

/** A key as the reference shows it. */
export interface DescribedKey {
  readonly path: readonly string[]
  /** The list whose entries have the key; undefined for a key of a section. */
  readonly list: string | undefined
  readonly value: DescribedValue
  readonly byDefault: unknown
  /** Whether it may be left out without having a default. */
  readonly isOptional: boolean
  readonly texts: { readonly en: string; readonly zh: string }
}

/**
 * Every key of the schema that takes a value, in order.
 * @throws Error when a key has no text in one of the languages, or takes what `DescribedValue` has no word for.
 */
export function describeKeys(): DescribedKey[] {
  return SCHEMA_NODES.filter((node) => !isSection(node) && !isListOfSections(node)).map(describe)
}

const isSection = ({ schema }: SchemaNode) => unwrap(schema).inner instanceof z.ZodObject

function isListOfSections(node: SchemaNode): boolean {
  return SCHEMA_NODES.some(({ list }) => list !== undefined && list.join('.') === node.path.join('.'))
}

function describe(node: SchemaNode): DescribedKey {
  const name = node.path.join('.')
  const { description: en, zh } = node.schema.meta() ?? {}
  if (typeof en !== 'string' || typeof zh !== 'string') throw new Error(`${name} needs a text in English and Chinese`)
  const { inner, byDefault, isOptional } = unwrap(node.schema)
  const list = node.list?.join('.')
  return { path: node.path, list, value: describeValue(inner, name), byDefault, isOptional, texts: { en, zh } }
}

function describeValue(schema: unknown, name: string): DescribedValue {
  if (schema instanceof z.ZodArray) return { ...describeValue(schema.element, name), isList: true }
  const choices =
    schema instanceof z.ZodEnum
      ? schema.options.map(String)
      : schema instanceof z.ZodLiteral
        ? [...schema.values].filter((value) => typeof value === 'string')
        : []
  return { kind: kindOf(schema, name), choices, isList: false }
}

function kindOf(schema: unknown, name: string): DescribedValue['kind'] {
  if (schema instanceof z.ZodEnum || schema instanceof z.ZodLiteral) return 'choice'
  if (schema instanceof z.ZodCodec) return schema.def.out instanceof z.ZodNumber ? 'duration' : 'text'
  if (schema instanceof z.ZodBoolean) return 'flag'
  if (schema instanceof z.ZodRecord) return 'map'
  if (schema instanceof z.ZodNumber) return 'number'
  if (schema instanceof z.ZodURL) return 'url'
  if (schema instanceof z.ZodString) return 'text'
  throw new Error(`the reference has no word for what ${name} takes; add it in described-keys.ts`)
}
