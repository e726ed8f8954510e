/** Health: regular looks at what the server depends on, and what to say when somebody asks. */
export { fileCheck, httpCheck, tcpCheck } from './checks.ts'
export { createHealth, type Health, type HealthCheck } from './health.ts'
