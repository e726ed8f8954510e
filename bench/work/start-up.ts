import type { MakeWork } from './work.ts'

/** From the start of the process to its first 200 for GET /v2/, on a folder that it has used before. */
export const makeStartUpWork: MakeWork = ({ quick, rounds }) => ({
  name: 'start-up',
  includesLimit: false,
  startsServers: true,
  rounds: quick ? rounds : Math.max(rounds, 11),
  prepare: async () => {},
  cases: [
    {
      label: 'start-up, until GET /v2/ answers',
      async measure(server) {
        const elapsedMs = await server.start()
        await server.stop()
        return [{ unit: 'ms', value: elapsedMs }]
      },
    },
  ],
})
