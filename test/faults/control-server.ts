/** A server that does nothing but answer: how long that takes is what the machine costs. It prints its port. */
import { createServer } from 'node:http'

const server = createServer((_, answer) => void answer.end('ok'))
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address !== null && typeof address === 'object') process.stdout.write(`${address.port}\n`)
})
