import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { RegistryError } from '@entrepot/oci'
import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import type { Logger } from '#platform/log'
import { allowedMethods, answerClientError, answerError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { loadTls, reloadTlsOnChange, type TlsOptions } from './tls.ts'

const MAX_HEADER_BYTES = 16 * 1024
const MAX_URL_LENGTH = 8 * 1024
/** How often Node.js looks for connections whose headers are late. */
const TIMEOUT_CHECK_INTERVAL_MS = 2_000
/** A request id from outside is taken over if it looks like one. */
const REQUEST_ID = /^[\w.:-]{1,128}$/

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The right that the route needs; `public` where it needs none. Every route declares one. */
    right?: string
    /** The route's name in logs and metrics. */
    handler?: string
  }
}

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  readonly tls: TlsOptions | undefined
  readonly isHttp2Enabled: boolean
  /** Headers added to every answer. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly headerTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  readonly isAccessLogged: boolean
}

export interface HttpServerDependencies {
  readonly log: Logger
  readonly metrics: Metrics
  /** Refuses, by throwing, a request that lacks the right that its route declares. */
  readonly authorize: (right: string, request: FastifyRequest) => void
  /** Turns the URL of a request into the one that is routed. */
  readonly rewriteUrl: (url: string) => string
}

export interface HttpServer {
  /** Routes are added here. */
  readonly app: FastifyInstance
  /** Starts to answer; throws when the address cannot be bound. Gives the address as a URL. */
  listen(): Promise<string>
  /** Takes no more connections, lets requests end for up to `timeoutMs`, then cuts what is left. */
  drain(timeoutMs: number): Promise<void>
}

/** A server without routes. */
export async function createHttpServer(
  options: HttpServerOptions,
  dependencies: HttpServerDependencies,
): Promise<HttpServer> {
  const app = await createApp(options, dependencies)
  app.removeAllContentTypeParsers()
  // Bodies are read by the routes that want one, as streams.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setErrorHandler(answerError)
  app.setNotFoundHandler(answerNotFound)
  app.addHook('onRoute', (route) => {
    if (route.config?.right === undefined) throw new Error(`the route ${route.url} declares no right`)
  })
  observe(app, options, dependencies)
  app.addHook('onRequest', async (request, reply) => {
    if (request.originalUrl.length > MAX_URL_LENGTH) throw urlTooLong()
    for (const [name, values] of Object.entries(options.headers)) reply.header(name, values.join(', '))
    reply.header('x-request-id', request.id)
    const { right } = request.routeOptions.config
    if (right !== undefined && right !== 'public') dependencies.authorize(right, request)
  })
  let stopReloading: (() => void) | undefined
  return {
    app,
    listen: async () => {
      const address = await app.listen({ host: options.host, port: options.port })
      if (options.tls !== undefined && app.server instanceof TlsServer) {
        stopReloading = reloadTlsOnChange(app.server, options.tls, dependencies.log)
      }
      return address
    },
    drain: async (timeoutMs) => {
      stopReloading?.()
      const timer = setTimeout(() => app.server.closeAllConnections(), timeoutMs)
      await app.close()
      clearTimeout(timer)
    },
  }
}

async function createApp(options: HttpServerOptions, dependencies: HttpServerDependencies): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = dependencies.log
  const common = {
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    routerOptions: { maxParamLength: 3 * MAX_URL_LENGTH },
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle' as const,
    keepAliveTimeout: options.keepAliveTimeoutMs,
    // A large upload over a slow line takes hours; what is idle is cut by the reader of the body.
    requestTimeout: 0,
    rewriteUrl: (request: IncomingMessage) => dependencies.rewriteUrl(request.url ?? '/'),
    genReqId: (request: { headers: IncomingMessage['headers'] }) => requestId(request.headers['x-request-id']),
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => answerError(error, request, reply),
    clientErrorHandler: (error: Error, socket: unknown) => {
      if (socket instanceof Socket) answerClientError(error, socket)
    },
  }
  const timeouts = {
    headersTimeout: options.headerTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  }
  if (options.tls === undefined) return fastify({ ...common, http: timeouts })
  const https = { ...(await loadTls(options.tls)), ...timeouts }
  if (!options.isHttp2Enabled) return fastify({ ...common, https })
  // HTTP/2's requests have types of their own, but its compatibility layer behaves as HTTP/1.1 for all that is used.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const createHttp2 = fastify as unknown as (options: object) => FastifyInstance
  return createHttp2({
    ...common,
    http2: true,
    http2SessionTimeout: options.keepAliveTimeoutMs,
    https: { ...https, allowHTTP1: true },
  })
}

/** Counts and logs each request when its answer ended, or was cut off. */
function observe(app: FastifyInstance, options: HttpServerOptions, { metrics }: HttpServerDependencies): void {
  app.addHook('onRequest', async (request, reply) => {
    const end = metrics.observeRequest(request.routeOptions.config.handler ?? 'none', request.method)
    reply.raw.once('close', () => {
      const responseBytes = Number(reply.getHeader('content-length') ?? 0)
      end(reply.statusCode, { request: Number(request.headers['content-length'] ?? 0), response: responseBytes })
      if (!options.isAccessLogged) return
      request.log.info(
        {
          'http.request.method': request.method,
          'http.request.uri': request.originalUrl,
          'http.request.remoteaddr': request.ip,
          'http.request.useragent': request.headers['user-agent'],
          'http.response.status': reply.statusCode,
          'http.response.duration': `${reply.elapsedTime.toFixed(3)}ms`,
          'http.response.written': responseBytes,
        },
        reply.raw.writableFinished ? 'response completed' : 'response cut off',
      )
    })
  })
}

function requestId(header: string | string[] | undefined): string {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : randomUUID()
}

async function answerNotFound(request: FastifyRequest): Promise<never> {
  if (allowedMethods(request).length > 0)
    throw new RegistryError('UNSUPPORTED', `${request.method} is not supported here`)
  throw new RegistryError('UNSUPPORTED', 'there is nothing at this URL', { status: 404 })
}

function urlTooLong(): RegistryError {
  return new RegistryError('UNSUPPORTED', `the URL is longer than ${MAX_URL_LENGTH} characters`, { status: 414 })
}
