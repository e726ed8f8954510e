/**
 * Asks each of its URLs at the same time, every 20 ms until its input ends, and prints an empty line when the first answers
 * are there, and in the end how long later ones took, in ms, as a JSON list of lists. A process of its own, so that a busy load generator does not measure itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const urls = process.argv.slice(2)
const looks: number[][] = []
process.stdin.resume()
await Promise.all(urls.map(durationOf))
process.stdout.write('\n')
while (!process.stdin.readableEnded) {
  looks.push(await Promise.all(urls.map(durationOf)))
  await sleep(20)
}
process.stdout.write(JSON.stringify(looks))
process.exit()

/** One that is not answered well counts as one that never comes. */
async function durationOf(url: string): Promise<number> {
  const begun = performance.now()
  try {
    const answer = await fetch(url)
    await answer.arrayBuffer()
    return answer.ok ? performance.now() - begun : 60_000
  } catch {
    return 60_000
  }
}
