import { Cron } from 'croner'
import * as z from 'zod'

const LENGTH_OF_TIME = 'a length of time with its unit, such as 30s, 5m or 168h'
const HOST_AND_PORT = 'host:port, such as 127.0.0.1:5000, [::1]:5000 or :5000'
const REGULAR_EXPRESSION = 'a regular expression'
const CRON_EXPRESSION = 'a cron expression of times to come, such as 30 3 * * * or 0 4 * * sun'
const WHOLE_NUMBER = 'a whole number of 0 or more'
const STATUS_CODE = 'a status code from 100 to 599'
const UNIT_MS = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
const AMOUNT_AND_UNIT = String.raw`(\d+(?:\.\d+)?)(${Object.keys(UNIT_MS).join('|')})`
const DURATION = new RegExp(`^(?:${AMOUNT_AND_UNIT})+$`)
const DURATION_PART = new RegExp(AMOUNT_AND_UNIT, 'g')

const isUnit = (text: string): text is keyof typeof UNIT_MS => Object.hasOwn(UNIT_MS, text)

/** A length of time as Go writes it, such as `10s` or `1h30m`; milliseconds inside. */
export const duration = z.codec(
  z.string({ error: LENGTH_OF_TIME }).regex(DURATION, { error: LENGTH_OF_TIME }),
  z.number().nonnegative(),
  {
    decode: (text) => {
      let totalMs = 0
      for (const [, amount = '0', unit = ''] of text.matchAll(DURATION_PART)) {
        if (isUnit(unit)) totalMs += Number(amount) * UNIT_MS[unit]
      }
      return totalMs
    },
    encode: (durationMs) => {
      if (durationMs > 0 && durationMs % UNIT_MS.h === 0) return `${durationMs / UNIT_MS.h}h`
      if (durationMs > 0 && durationMs % UNIT_MS.m === 0) return `${durationMs / UNIT_MS.m}m`
      return durationMs % UNIT_MS.s === 0 ? `${durationMs / UNIT_MS.s}s` : `${durationMs}ms`
    },
  },
)

/** What timers of Node.js can hold; a longer one would fire at once. */
const MAX_TIMER_MS = 2_147_483_647

/** A length of time that a timer waits. */
export const delay = duration.refine((durationMs) => durationMs <= MAX_TIMER_MS, {
  error: `${LENGTH_OF_TIME}, of 596h at most`,
})

/** A length of time that a timer waits again and again, or that something may take: nothing works in no time. */
export const interval = delay.refine((durationMs) => durationMs >= 1, { error: `${LENGTH_OF_TIME}, of 1ms at least` })

/** Where to listen or to connect; an empty host means every address of the machine. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** A host, in brackets where it has colons, and a port. */
const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/

/** `host:port`; its parts inside. */
export const address = z.codec(
  z.string({ error: HOST_AND_PORT }).regex(ADDRESS, { error: HOST_AND_PORT }),
  z.object({ host: z.string(), port: z.int().max(65_535, { error: HOST_AND_PORT }) }),
  {
    decode: (text) => {
      const [, inBrackets, host = '', port] = ADDRESS.exec(text) ?? []
      return { host: inBrackets ?? host, port: Number(port) }
    },
    encode: formatAddress,
  },
)

/** An address as it stands in a file: `127.0.0.1:5000`, `[::1]:5000`, `:5000`. */
export function formatAddress({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** A regular expression of JavaScript, made once. */
export const regularExpression = z.codec(z.string({ error: REGULAR_EXPRESSION }), z.instanceof(RegExp), {
  decode: (source, { issues }) => {
    try {
      return new RegExp(source)
    } catch {
      issues.push({ code: 'custom', message: REGULAR_EXPRESSION, input: source })
      return z.NEVER
    }
  },
  // As it was written: `source` has a backslash before each slash.
  encode: (pattern) => pattern.source.replaceAll(/\\(.)/g, (pair, character) => (character === '/' ? '/' : pair)),
})

/** A URL of http or https, as text. */
export const httpUrl = z.url({ protocol: /^https?$/, error: 'a URL such as https://registry.example.com' })

/** A URL that is asked, which fetch refuses to do with credentials in it. */
export const askedUrl = httpUrl.refine((url) => !URL.canParse(url) || !hasCredentials(new URL(url)), {
  error: 'a URL without a user or a password, which "headers" can carry as Authorization',
})

/** A status code of HTTP. */
export const statusCode = z
  .int({ error: STATUS_CODE })
  .min(100, { error: STATUS_CODE })
  .max(599, { error: STATUS_CODE })

/** A positive whole number. */
export const count = z.int({ error: 'a whole number of 1 or more' }).positive({ error: 'a whole number of 1 or more' })

/** A whole number that may be zero. */
export const wholeNumber = z.int({ error: WHOLE_NUMBER }).nonnegative({ error: WHOLE_NUMBER })

/** When something happens: minute, hour, day of the month, month and day of the week, perhaps after the second. */
export const cronExpression = z.string({ error: CRON_EXPRESSION }).refine(hasTimesToCome, { error: CRON_EXPRESSION })

/** A header's name (RFC 9110, section 5.1), but for those that carry the message itself. */
const HEADER_NAME =
  /^(?!(?:connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$)[\w!#$%&'*+.^`|~-]+$/i
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Headers with their values: what could not be sent is refused before anything is answered. */
export const headers = z
  .record(
    z.string().regex(HEADER_NAME),
    z.array(z.string({ error: 'text' }).regex(HEADER_VALUE, { error: 'a value of one line' }), {
      error: 'a list of values',
    }),
    { error: (issue) => (issue.code === 'invalid_key' ? 'the name of a header that may be set' : undefined) },
  )
  .default({})

/** Any text. */
export const text = z.string({ error: 'text' })
/** A switch. */
export const flag = z.boolean({ error: 'true or false' })

/** One of some words. */
export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `one of ${values.join(', ')}` })
}

function hasCredentials({ username, password }: URL): boolean {
  return username !== '' || password !== ''
}

/** Beside each field: what it is for, in English and in Chinese; the reference is made of it. */
export const about = (en: string, zh: string) => ({ description: en, zh })

/** Whether an expression can be read, and is not of times that never come, such as February 30th. */
function hasTimesToCome(expression: string): boolean {
  try {
    return new Cron(expression).nextRun() !== null
  } catch {
    return false
  }
}
