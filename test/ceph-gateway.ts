import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { run } from './clients/programs.ts'
import { freePort, until } from './harness.ts'
import type { MinioServer } from './minio-server.ts'

const START_TIMEOUT_MS = 60_000
const MEMORY_BYTES = 8 * 1024 ** 3
const ACCESS_KEY = 'entrepot-test'
const SECRET_KEY = 'entrepot-test-secret'
const BUCKET = 'registry'
/** What each part of Ceph may do, by its name. */
const CAPABILITIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'mon.': { mon: 'allow *' },
  'client.admin': { mon: 'allow *', osd: 'allow *', mgr: 'allow *' },
  'mgr.x': { mon: 'allow profile mgr', osd: 'allow *' },
  'osd.0': { mon: 'allow profile osd', osd: 'allow *', mgr: 'allow profile osd' },
  'client.rgw.a': { mon: 'allow rw', osd: 'allow rwx', mgr: 'allow rw' },
}

/** A Ceph cluster of one machine that keeps everything in memory, and its gateway, which speaks S3. */
export interface CephGateway {
  /** What `storage.s3` has to say to use its bucket. */
  readonly storage: MinioServer['storage']
  /** Ends it and removes its folder. */
  remove(): Promise<void>
}

/** Starts it, with one bucket. @throws Error when Ceph is not installed, or does not start. */
export async function startCephGateway(): Promise<CephGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-ceph-'))
  const [monitorPort, port] = [await freePort(), await freePort()]
  const [cluster, disk] = [randomUUID(), randomUUID()]
  const file = (name: string) => join(folder, name)
  await Promise.all(['mon', 'mgr', 'osd', 'rgw', 'run'].map(async (name) => mkdir(file(name))))
  await writeFile(file('ceph.conf'), configurationOf({ folder, cluster, monitorPort, port }))
  const config = ['--conf', file('ceph.conf')]
  const processes: ChildProcess[] = []
  let output = ''
  const start = (program: string, ...args: string[]) => {
    const started = spawn(program, ['-f', ...args, ...config], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (text) => void (output += String(text)))
    processes.push(started)
  }
  const remove = async () => {
    for (const started of processes.toReversed()) {
      if (started.exitCode !== null || started.signalCode !== null) continue
      const exited = once(started, 'exit')
      started.kill('SIGKILL')
      await exited
    }
    await rm(folder, { recursive: true, force: true })
  }
  const endpoint = `http://127.0.0.1:${port}`
  try {
    for (const [name, capabilities] of Object.entries(CAPABILITIES)) {
      const caps = Object.entries(capabilities).flatMap(([part, allowed]) => ['--cap', part, allowed])
      const create = name === 'mon.' ? ['--create-keyring'] : []
      await run('ceph-authtool', [...create, file('keyring'), '--gen-key', '-n', name, ...caps])
    }
    const address = `[v1:127.0.0.1:${monitorPort}]`
    await run('monmaptool', ['--create', '--fsid', cluster, '--addv', 'a', address, file('monmap')])
    await run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', file('monmap'), '--keyring', file('keyring'), ...config])
    start('ceph-mon', '-i', 'a')
    await run('ceph', [...config, 'auth', 'import', '-i', file('keyring')])
    start('ceph-mgr', '-i', 'x')
    await run('ceph', [...config, 'osd', 'new', disk, '0'])
    await run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', disk, ...config])
    start('ceph-osd', '-i', '0')
    start('radosgw', '-n', 'client.rgw.a')
    await until(
      async () => (await fetch(endpoint).catch(() => undefined))?.ok === true,
      START_TIMEOUT_MS,
      () => `the gateway of Ceph does not answer:\n${output}`,
    )
    const user = ['--uid=test', '--display-name=test', `--access-key=${ACCESS_KEY}`, `--secret-key=${SECRET_KEY}`]
    await run('radosgw-admin', [...config, 'user', 'create', ...user])
    await createBucket(endpoint)
  } catch (error) {
    await remove()
    throw error
  }
  const credentials = { accesskey: ACCESS_KEY, secretkey: SECRET_KEY }
  return { storage: { bucket: BUCKET, region: 'us-east-1', regionendpoint: endpoint, ...credentials }, remove }
}

async function createBucket(endpoint: string): Promise<void> {
  const credentials = { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY }
  const client = new S3Client({ region: 'us-east-1', endpoint, forcePathStyle: true, credentials })
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }))
  client.destroy()
}

function configurationOf(places: { folder: string; cluster: string; monitorPort: number; port: number }): string {
  const { folder, cluster, monitorPort, port } = places
  return `
[global]
fsid = ${cluster}
mon initial members = a
mon host = [v1:127.0.0.1:${monitorPort}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = ${folder}/keyring
log file = /dev/null
admin socket = ${folder}/run/$name.asok
run dir = ${folder}/run
crash dir = ${folder}/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon pg warn min per osd = 0
ms bind msgr2 = false
mgr initial modules =
[mon.a]
mon data = ${folder}/mon
[mgr.x]
mgr data = ${folder}/mgr
[osd.0]
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = ${MEMORY_BYTES}
[client.rgw.a]
rgw data = ${folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:${port}
`
}
