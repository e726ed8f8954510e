import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { ServerHttp2Session } from 'node:http2'
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
import { type BrokenRequests, checkRequestHead, createBrokenRequests } from './broken-requests.ts'
import { allowedMethods, answerError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { limitResets } from './reset-limit.ts'
import { PATIENCE } from './send-content.ts'
import { loadTls, reloadTlsOnChange, type TlsOptions } from './tls.ts'

const MAX_HEADER_BYTES = 16 * 1024
const MAX_URL_LENGTH = 8 * 1024
/** How often Node.js looks for connections whose headers are late. */
const TIMEOUT_CHECK_INTERVAL_MS = 2_000
/**
 * As many requests under way on one connection as Go's servers allow, and headers no larger than in HTTP/1.1. The
 * default window of 64 KiB would hold an upload to that much for each round trip. Node.js keeps what comes for requests
 * that wait, whatever the window of their session: 250 times 512 KiB is the most that a connection can make it keep.
 */
const HTTP2_SETTINGS = {
  initialWindowSize: 512 * 1024,
  maxConcurrentStreams: 250,
  maxHeaderListSize: MAX_HEADER_BYTES,
}
/** What all uploads of one connection may have on the way: clients rarely send more than eight at once. */
const HTTP2_SESSION_WINDOW_BYTES = 8 * HTTP2_SETTINGS.initialWindowSize
/** What nginx writes where the client went away before there was an answer. */
const CLIENT_CLOSED_REQUEST = 499
/** A request id from outside is taken over if it looks like one. */
const REQUEST_ID = /^[\w.:-]{1,128}$/

/** How often connections that have become idle are looked for while the server ends. */
const SWEEP_INTERVAL_MS = 100

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
  /** The path of a unix socket to listen on instead. */
  readonly socketPath?: string
  readonly tls: TlsOptions | undefined
  readonly isHttp2Enabled: boolean
  /** Headers added to every answer. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly headerTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  /** How long a client may send and take nothing while it is answered; see PATIENCE. 0 sets no limit. */
  readonly idleTimeoutMs: number
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
  const prepare = (request: FastifyRequest, reply: FastifyReply) => {
    observe(request, reply, dependencies.metrics, options.isAccessLogged)
    for (const [name, values] of Object.entries(options.headers)) reply.header(name, values.join(', '))
    reply.header('x-request-id', request.id)
  }
  const brokenRequests = createBrokenRequests(dependencies.log)
  const app = await createApp(options, dependencies, {
    brokenRequests,
    answerEarly: (error, request, reply) => {
      prepare(request, reply)
      answerError(error, request, reply)
    },
  })
  brokenRequests.watch(app)
  const connections = trackConnections(app)
  app.removeAllContentTypeParsers()
  // Bodies are read by the routes that want one, as streams.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setErrorHandler(answerError)
  app.setNotFoundHandler(answerUnrouted)
  app.addHook('onRoute', (route) => {
    if (route.config?.right === undefined) throw new Error(`the route ${route.url} declares no right`)
  })
  app.addHook('onRequest', async (request, reply) => {
    prepare(request, reply)
    checkRequestHead(request)
    if (request.originalUrl.length > MAX_URL_LENGTH) throw urlTooLong()
    const { right } = request.routeOptions.config
    if (right !== undefined && right !== 'public') dependencies.authorize(right, request)
  })
  let stopReloading: (() => void) | undefined
  return {
    app,
    listen: async () => {
      const { host, port, socketPath } = options
      const address = await app.listen(socketPath === undefined ? { host, port } : { path: socketPath })
      if (options.tls !== undefined && app.server instanceof TlsServer) {
        stopReloading = reloadTlsOnChange(app.server, options.tls, dependencies.log)
      }
      return address
    },
    drain: async (timeoutMs) => {
      stopReloading?.()
      const timer = setTimeout(() => {
        for (const socket of connections) socket.destroy()
      }, timeoutMs)
      // A connection whose last answer ends only now is idle only now.
      const sweep = setInterval(() => closeIdleConnections(app), SWEEP_INTERVAL_MS)
      await app.close()
      clearInterval(sweep)
      clearTimeout(timer)
    },
  }
}

/** @param failures.answerEarly answers a request that fails before it is routed. */
async function createApp(
  options: HttpServerOptions,
  dependencies: HttpServerDependencies,
  failures: {
    brokenRequests: BrokenRequests
    answerEarly: (error: Error, request: FastifyRequest, reply: FastifyReply) => void
  },
): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = dependencies.log
  const common = {
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'http.request.id' }),
    routerOptions: { maxParamLength: 3 * MAX_URL_LENGTH },
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle' as const,
    keepAliveTimeout: options.keepAliveTimeoutMs,
    // A large upload over a slow line takes hours; what is idle is cut by the reader of the body.
    requestTimeout: 0,
    rewriteUrl: (request: IncomingMessage) => dependencies.rewriteUrl(originForm(request.url ?? '/')),
    genReqId: (request: { headers: IncomingMessage['headers'] }) => requestId(request.headers['x-request-id']),
    frameworkErrors: failures.answerEarly,
    clientErrorHandler: (error: Error, socket: unknown) => {
      if (socket instanceof Socket) failures.brokenRequests.answer(error, socket)
    },
  }
  const timeouts = {
    headersTimeout: options.headerTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    // It is required, but Node.js would refuse without a reason.
    requireHostHeader: false,
  }
  const connectionTimeout = PATIENCE * options.idleTimeoutMs
  if (options.tls === undefined) return fastify({ ...common, connectionTimeout, http: timeouts })
  const https = { ...(await loadTls(options.tls)), ...timeouts, handshakeTimeout: options.headerTimeoutMs }
  if (!options.isHttp2Enabled) return fastify({ ...common, connectionTimeout, https })
  // HTTP/2's requests have types of their own, but its compatibility layer behaves as HTTP/1.1 for all that is used.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const createHttp2 = fastify as unknown as (options: object) => FastifyInstance
  const app = createHttp2({
    ...common,
    http2: true,
    http2SessionTimeout: options.keepAliveTimeoutMs,
    // Otherwise a value with a space at its end would vanish without a word: a Content-Range, for example.
    https: { ...https, allowHTTP1: true, settings: HTTP2_SETTINGS, strictFieldWhitespaceValidation: false },
  })
  app.server.on('session', (session: ServerHttp2Session) => {
    session.setLocalWindowSize(HTTP2_SESSION_WINDOW_BYTES)
    limitResets(session)
    // An idle session is closed, which waits for streams whose answers nobody may be reading.
    session.once('timeout', () => {
      const timer = setTimeout(() => session.destroy(), connectionTimeout)
      session.once('close', () => clearTimeout(timer))
    })
  })
  // On such a server Node.js gives HTTP/1.1 limits of its own: 5 minutes for an upload, 5 seconds between requests.
  app.server.requestTimeout = common.requestTimeout
  app.server.keepAliveTimeout = common.keepAliveTimeout
  return app
}

/** Closes the connections of HTTP/1.1 on which nothing is being answered; those of HTTP/2 close by themselves. */
function closeIdleConnections({ server }: FastifyInstance): void {
  if ('closeIdleConnections' in server) server.closeIdleConnections()
}

/** The connections that are open, whichever version of HTTP they speak. */
function trackConnections(app: FastifyInstance): ReadonlySet<Socket> {
  const connections = new Set<Socket>()
  app.server.on('connection', (socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  return connections
}

/** Counts and logs a request when its answer ended, or was cut off. */
function observe(request: FastifyRequest, reply: FastifyReply, metrics: Metrics, isLogged: boolean): void {
  // Routing may have failed: then there is no configuration, whatever the types say.
  const config: typeof request.routeOptions.config | undefined = request.routeOptions.config
  const end = metrics.observeRequest(config?.handler ?? 'none', request.method)
  // HTTP/2 forgets the address with the stream.
  const { ip } = request
  reply.raw.once('close', () => {
    const status = reply.raw.headersSent ? reply.statusCode : CLIENT_CLOSED_REQUEST
    const isCutOff = status === CLIENT_CLOSED_REQUEST || !reply.raw.writableFinished
    const bodyBytes = isCutOff || request.method === 'HEAD' ? 0 : Number(reply.getHeader('content-length') ?? 0)
    end(status, { request: Number(request.headers['content-length'] ?? 0), response: bodyBytes })
    if (!isLogged) return
    request.log.info(
      {
        'http.request.method': request.method,
        'http.request.uri': withoutTokens(request.originalUrl),
        'http.request.remoteaddr': ip,
        'http.request.useragent': request.headers['user-agent'],
        'http.response.status': status,
        'http.response.duration': `${reply.elapsedTime.toFixed(3)}ms`,
        'http.response.written': bodyBytes,
      },
      isCutOff ? 'response cut off' : 'response completed',
    )
  })
}

/** Whoever reads the log must not be able to use a signed URL. */
function withoutTokens(url: string): string {
  return url.includes('?') ? url.replaceAll(/(?<=[?&](?:verify|auth_key|Signature)=)[^&]+/g, '…') : url
}

/** The path of a URL, which may come with its scheme and host (RFC 9112, section 3.2.2). */
function originForm(url: string): string {
  const path = url.replace(/^https?:\/\/[^/?#]*/i, '')
  return path.startsWith('/') ? path : `/${path}`
}

function requestId(header: string | string[] | undefined): string {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : randomUUID()
}

/**
 * Answers what no route takes. OPTIONS says which methods the URL takes, as CNCF distribution does, and nothing of what
 * it names: with `http.headers` that is how browsers ask whether another site may use the registry (CORS).
 */
async function answerUnrouted(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const allowed = allowedMethods(request)
  if (allowed.length === 0) throw new RegistryError('UNSUPPORTED', 'there is nothing at this URL', { status: 404 })
  if (request.method !== 'OPTIONS') throw new RegistryError('UNSUPPORTED', `${request.method} is not supported here`)
  return reply.header('allow', [...allowed, 'OPTIONS'].join(', ')).send()
}

function urlTooLong(): RegistryError {
  return new RegistryError('UNSUPPORTED', `the URL is longer than ${MAX_URL_LENGTH} characters`, { status: 414 })
}
