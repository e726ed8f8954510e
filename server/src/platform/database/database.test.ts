import { testOnEngines } from '../../../../test/metadata-engines.ts'
import { PROMISES, PROMISES_TO_MANY } from './database.contract.ts'

await testOnEngines(PROMISES, PROMISES_TO_MANY)
