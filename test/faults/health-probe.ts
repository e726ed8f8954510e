/**
 * Asks for an URL every 20 ms until its input ends, and prints how long the answers took, in ms, as a JSON list. A process
 * of its own, so that a busy load generator does not measure itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const url = process.argv[2] ?? ''
const durationsMs: number[] = []
process.stdin.resume()
while (!process.stdin.readableEnded) {
  const begun = performance.now()
  const answer = await fetch(url)
  await answer.arrayBuffer()
  // One that is not healthy counts as one that never comes.
  durationsMs.push(answer.ok ? Math.round(performance.now() - begun) : 60_000)
  await sleep(20)
}
process.stdout.write(JSON.stringify(durationsMs))
process.exit()
