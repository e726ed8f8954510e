import { pino } from 'pino'
import { testOnEngines } from '../../../../test/metadata-engines.ts'
import { PROMISES, PROMISES_TO_MANY } from './database.contract.ts'

await testOnEngines(PROMISES, { promisesToMany: PROMISES_TO_MANY, log: pino({ enabled: false }) })
