import assert from 'node:assert/strict'
import { type Answer, describe, errorCodes } from '../registry-client.ts'

/** What a request must be answered with, known from how it was made; nothing else is allowed. */
export interface Expected {
  readonly statuses: readonly number[]
  /** The error codes of which a refusal must carry one; without them any known one will do. */
  readonly codes?: readonly string[]
}

/** The statuses that belong to each code (spec "Error Codes"; RFC 9110 where that is silent). */
const STATUSES_OF_CODE: Readonly<Record<string, readonly number[]>> = {
  BLOB_UNKNOWN: [404],
  BLOB_UPLOAD_INVALID: [400],
  BLOB_UPLOAD_UNKNOWN: [404],
  DIGEST_INVALID: [400],
  MANIFEST_BLOB_UNKNOWN: [400, 404],
  MANIFEST_INVALID: [400],
  MANIFEST_UNKNOWN: [404],
  NAME_INVALID: [400],
  NAME_UNKNOWN: [404],
  PAGINATION_NUMBER_INVALID: [400],
  RANGE_INVALID: [416],
  SIZE_INVALID: [400, 413],
  TAG_INVALID: [400, 414],
  TOOMANYREQUESTS: [429],
  UNSUPPORTED: [400, 404, 405, 412, 414, 415, 417, 431],
}

export function answered(...statuses: number[]): Expected {
  return { statuses }
}

export function refused(status: number, ...codes: string[]): Expected {
  return { statuses: [status], codes }
}

/** What is allowed where either of two things may be answered, as with two faults in one request. */
export function either(...alternatives: readonly Expected[]): Expected {
  return {
    statuses: alternatives.flatMap((expected) => expected.statuses),
    codes: alternatives.flatMap((expected) => expected.codes ?? []),
  }
}

/** Asserts what holds for every answer, whatever the request was, and what was expected of this one. */
export function judge(answer: Answer, expected?: Expected): void {
  assert.ok(answer.status >= 200 && answer.status < 500, describe(answer))
  const codes = answer.status >= 400 && answer.method !== 'HEAD' ? judgeError(answer) : []
  if (expected === undefined) return
  assert.ok(
    expected.statuses.includes(answer.status),
    `expected ${expected.statuses.join(' or ')}: ${describe(answer)}`,
  )
  if (codes.length === 0 || expected.codes === undefined || expected.codes.length === 0) return
  assert.ok(
    codes.some((code) => expected.codes?.includes(code)),
    `expected ${expected.codes.join(' or ')}: ${describe(answer)}`,
  )
}

function judgeError(answer: Answer): string[] {
  assert.match(answer.header('content-type') ?? '', /^application\/json\b/, describe(answer))
  const codes = errorCodes(answer)
  for (const code of codes)
    assert.ok(STATUSES_OF_CODE[code]?.includes(answer.status), `${code} is no ${answer.status}: ${describe(answer)}`)
  return codes
}
