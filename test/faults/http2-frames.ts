/** The types of frames of HTTP/2 (RFC 9113, section 6). */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Their flags. */
export const FLAG = { endStream: 1, endHeaders: 4 } as const

/** What a client begins with (RFC 9113, section 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

const SETTING_INITIAL_WINDOW_SIZE = 4
/** Indices of the table that every connection begins with (RFC 7541, appendix A). */
const INDEX = { authority: 1, methodGet: 0x82, methodPost: 0x83, path: 4, schemeHttps: 0x87 } as const
/** The first entry that a connection adds itself. */
const FIRST_ADDED = 0x80 | 62

/** A frame as it goes over the line, whether or not it makes sense. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A SETTINGS frame that says how much of a body may come before the client asks for more. */
export function windowSetting(bytes: number): Buffer {
  const payload = Buffer.alloc(6)
  payload.writeUInt16BE(SETTING_INITIAL_WINDOW_SIZE, 0)
  payload.writeUInt32BE(bytes, 2)
  return frame(FRAME.settings, 0, 0, payload)
}

/** The headers of a request, without compression. */
export function requestBlock(method: 'GET' | 'POST', path: string): Buffer {
  return Buffer.concat([
    Buffer.from([method === 'GET' ? INDEX.methodGet : INDEX.methodPost, INDEX.schemeHttps, INDEX.authority]),
    text('registry'),
    Buffer.from([INDEX.path]),
    text(path),
  ])
}

/** A header that is sent once and then told of again, by a byte each time: what was small becomes large. */
export function bombBlock(valueBytes: number, times: number): Buffer {
  const added = Buffer.concat([Buffer.from([0x40]), text('x'), text('b'.repeat(valueBytes))])
  return Buffer.concat([requestBlock('GET', '/v2/'), added, Buffer.alloc(times, FIRST_ADDED)])
}

/** A header of its own, which the receiver need not remember. */
export function headerBlock(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)])
}

/** A string with its length before it (RFC 7541, section 5). */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
  const length = [127]
  let rest = bytes.length - 127
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128)
  length.push(rest)
  return Buffer.concat([Buffer.from(length), bytes])
}
