/**
 * HTTP, for whichever format speaks it: the server with its limits, errors, ranges, bodies, metrics, health and draining.
 * It knows nothing of registries; what a route may do is decided by a function that it is given.
 */
export { type BodyLimits, readBody, readWholeBody } from './body.ts'
export { matchesEtag } from './conditions.ts'
export { createMetrics, type Metrics } from './metrics.ts'
export { registerOperations } from './operations.ts'
export { findKernelSend } from './kernel-send.ts'
export { type ByteRange, parseRange } from './range.ts'
export { ContentSender } from './send-content.ts'
export { createHttpServer, type HttpServer, type HttpServerOptions } from './server.ts'
