import { access } from 'node:fs/promises'
import { connect } from 'node:net'
import { finished } from 'node:stream/promises'
import type { HealthCheck } from './health.ts'

/** Unhealthy while a file exists, so that an operator can take a server out of service by creating it. */
export function fileCheck(options: { file: string; intervalMs: number; threshold: number }): HealthCheck {
  return {
    name: `file ${options.file}`,
    intervalMs: options.intervalMs,
    threshold: options.threshold,
    check: async () => {
      const exists = await access(options.file).then(
        () => true,
        () => false,
      )
      if (exists) throw new Error('the file exists')
    },
  }
}

/** Unhealthy when a URL answers with another status, or not in time. */
export function httpCheck(options: {
  uri: string
  statusCode: number
  headers: Readonly<Record<string, string>>
  timeoutMs: number
  intervalMs: number
  threshold: number
}): HealthCheck {
  return {
    name: `http ${options.uri}`,
    intervalMs: options.intervalMs,
    timeoutMs: options.timeoutMs,
    threshold: options.threshold,
    check: async () => {
      const answer = await fetch(options.uri, {
        method: 'HEAD',
        headers: options.headers,
        redirect: 'manual',
        signal: AbortSignal.timeout(options.timeoutMs),
      })
      if (answer.status !== options.statusCode) {
        throw new Error(`it answered ${answer.status} instead of ${options.statusCode}`)
      }
    },
  }
}

/** Unhealthy when an address takes no connection in time. */
export function tcpCheck(options: {
  host: string
  port: number
  timeoutMs: number
  intervalMs: number
  threshold: number
}): HealthCheck {
  return {
    name: `tcp ${options.host}:${options.port}`,
    intervalMs: options.intervalMs,
    timeoutMs: options.timeoutMs,
    threshold: options.threshold,
    check: async () => {
      const socket = connect({ host: options.host, port: options.port, timeout: options.timeoutMs })
      socket.once('timeout', () => socket.destroy(new Error('it did not answer in time')))
      socket.once('connect', () => socket.destroy())
      await finished(socket, { error: true }).catch((error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error
      })
    },
  }
}
