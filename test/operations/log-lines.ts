import assert from 'node:assert/strict'
import { record } from '../registry-client.ts'

/** The lines of a log in JSON, of which each must be one object with a level, a time and a message. */
export function logLines(output: string): Record<string, unknown>[] {
  // The last line may still be on its way.
  const lines = output.slice(0, output.lastIndexOf('\n') + 1).split('\n')
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const entry = record(JSON.parse(line))
      assert.ok(['debug', 'info', 'warn', 'error', 'fatal'].includes(String(entry['level'])), line)
      assert.match(String(entry['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.ok(typeof entry['msg'] === 'string' && entry['msg'] !== '', line)
      return entry
    })
}
