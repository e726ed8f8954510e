import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildah } from './buildah.ts'
import type { Client } from './client.ts'
import { containerdClient, startContainerd } from './containerd.ts'
import { crane } from './crane.ts'
import { dockerClient, startDocker } from './docker.ts'
import { pullWhole, pushWhole } from './every-client.ts'
import { oras } from './oras.ts'
import { podman } from './podman.ts'
import { type ClientName, isClientPresent } from './programs.ts'
import { regctl } from './regctl.ts'
import { prepare } from './setup.ts'
import { skopeo } from './skopeo.ts'
import { umoci } from './umoci.ts'

const EVERY_CLIENT: readonly ClientName[] = [
  'buildah',
  'containerd',
  'crane',
  'docker',
  'oras',
  'podman',
  'regctl',
  'skopeo',
  'umoci',
]

test('every client pulls what any other has pushed', async (t) => {
  if (!EVERY_CLIENT.every((name) => isClientPresent(t, name))) return
  const setup = await prepare(t)
  const { sandbox } = setup
  const clients: readonly Client[] = [
    buildah(sandbox),
    containerdClient(await startContainerd(sandbox)),
    crane(sandbox),
    dockerClient(await startDocker(sandbox)),
    oras(sandbox),
    podman(sandbox),
    regctl(sandbox),
    skopeo(sandbox),
    umoci(sandbox),
  ]
  assert.deepEqual(
    clients.map((client) => client.name),
    EVERY_CLIENT,
  )

  /** Who pushed an image, by its digest: clients that copy bytes push the very same one. */
  const pushers = new Map<string, ClientName[]>()
  for (const client of clients) {
    const { digest } = await pushWhole(setup, client, `by/${client.name}:1`)
    pushers.set(digest, [...(pushers.get(digest) ?? []), client.name])
  }
  t.diagnostic([...pushers.values()].map((names) => names.join(' = ')).join(', '))

  for (const [index, client] of clients.entries()) {
    await t.test(`${client.name} pulls what the others have pushed`, async () => {
      for (const names of pushers.values()) {
        // Of those who pushed the same image, another one for each puller, so that every repository is pulled from.
        const others = names.filter((name) => name !== client.name)
        const pusher = others[index % others.length]
        if (pusher !== undefined) await pullWhole(setup, client, `by/${pusher}:1`)
      }
    })
  }
})
