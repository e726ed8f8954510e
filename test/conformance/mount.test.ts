import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS, digestOf, randomBlob, uniqueName, unknownDigest } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertContent,
  assertRefused,
  describe,
  startClient,
} from '../registry-client.ts'

test('mounting blobs', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  for (const algorithm of ALGORITHMS) {
    void t.test(
      `spec "Mounting a blob from another repository": a mount gives 201 and a location that gives the blob (${algorithm})`,
      async () => {
        const [source, target, bytes] = [uniqueName(), uniqueName(), randomBlob()]
        const { digest } = await client.pushBlob(source, bytes, algorithm)
        const answer = await mount(client, target, { mount: digest, from: source })
        await assertMounted(client, answer, bytes, digest)
      },
    )

    void t.test(
      `spec "Mounting a blob from another repository": a blob that is found is mounted without "from" (${algorithm})`,
      async () => {
        const [target, bytes] = [uniqueName(), randomBlob()]
        const { digest } = await client.pushBlob(uniqueName(), bytes, algorithm)
        await assertMounted(client, await mount(client, target, { mount: digest }), bytes, digest)
      },
    )

    void t.test(
      `spec "Mounting a blob from another repository": an unknown blob begins an upload with 202 (${algorithm})`,
      async () => {
        const [source, target, bytes] = [uniqueName(), uniqueName(), randomBlob()]
        await client.pushBlob(source)
        const digest = digestOf(bytes, algorithm)
        for (const from of [{ from: source }, { from: uniqueName() }, {}]) {
          const answer = await mount(client, target, { mount: digest, ...from })
          assert.equal(answer.status, 202, describe(answer))
          const closed = await client.putBlob(client.location(answer), digest, bytes)
          assert.equal(closed.status, 201, describe(closed))
          assertContent(await client.get(client.location(closed)), { bytes, digest })
          assert.equal((await client.delete(`/v2/${target}/blobs/${digest}`)).status, 202)
        }
      },
    )
  }

  void t.test(
    'spec "Mounting a blob from another repository": a source without the blob gives nothing that is not there',
    async () => {
      const [source, target] = [uniqueName(), uniqueName()]
      const { digest } = await client.pushBlob(uniqueName())
      await client.pushBlob(source)
      await client.pushBlob(target)
      const answer = await mount(client, target, { mount: digest, from: source })
      assert.ok(answer.status === 202 || answer.status === 201, describe(answer))
      const expected = answer.status === 201 ? 200 : 404
      assert.equal((await client.head(`/v2/${target}/blobs/${digest}`)).status, expected)
    },
  )

  void t.test('spec "Mounting a blob from another repository": a repository may mount its own blob', async () => {
    const [name, bytes] = [uniqueName(), randomBlob()]
    const { digest } = await client.pushBlob(name, bytes)
    await assertMounted(client, await mount(client, name, { mount: digest, from: name }), bytes, digest)
  })

  void t.test('spec "Mounting a blob from another repository": source and target can be deleted apart', async () => {
    const [source, target, bytes] = [uniqueName(), uniqueName(), randomBlob()]
    const { digest } = await client.pushBlob(source, bytes)
    assert.equal((await mount(client, target, { mount: digest, from: source })).status, 201)
    assert.equal((await client.delete(`/v2/${source}/blobs/${digest}`)).status, 202)
    assertRefused(await client.get(`/v2/${source}/blobs/${digest}`), 404, 'BLOB_UNKNOWN')
    assertContent(await client.get(`/v2/${target}/blobs/${digest}`), { bytes, digest })
    assert.equal((await mount(client, source, { mount: digest, from: target })).status, 201)
    assert.equal((await client.delete(`/v2/${target}/blobs/${digest}`)).status, 202)
    assertContent(await client.get(`/v2/${source}/blobs/${digest}`), { bytes, digest })
  })

  void t.test(
    'spec "Mounting a blob from another repository": a deleted blob is not mounted from where it was',
    async () => {
      const [source, target] = [uniqueName(), uniqueName()]
      const { digest } = await client.pushBlob(source)
      assert.equal((await client.delete(`/v2/${source}/blobs/${digest}`)).status, 202)
      assert.equal((await mount(client, target, { mount: digest, from: source })).status, 202)
      assertRefused(await client.head(`/v2/${target}/blobs/${digest}`), 404)
    },
  )

  void t.test(
    'spec "Mounting a blob from another repository": what cannot be mounted is refused or begins an upload',
    async () => {
      const name = uniqueName()
      for (const parameters of [
        { mount: 'latest', from: name },
        { mount: 'sha256:short' },
        { mount: 'md5:d41d8cd98f00b204e9800998ecf8427e' },
        { mount: unknownDigest(), from: 'Not/A/Name' },
        { mount: unknownDigest(), from: '../../etc' },
        { mount: '', from: '' },
      ]) {
        const answer = await mount(client, name, parameters)
        if (answer.status === 202) assert.equal((await client.get(client.location(answer))).status, 204)
        else assertRefused(answer, 400, ['DIGEST_INVALID', 'NAME_INVALID'])
      }
    },
  )
})

function mount(client: RegistryClient, name: string, parameters: Record<string, string>): Promise<Answer> {
  return client.post(`/v2/${name}/blobs/uploads/?${new URLSearchParams(parameters).toString()}`)
}

async function assertMounted(client: RegistryClient, answer: Answer, bytes: Buffer, digest: string): Promise<void> {
  assert.equal(answer.status, 201, describe(answer))
  assert.equal(answer.header('docker-content-digest'), digest)
  assertContent(await client.get(client.location(answer)), { bytes, digest })
}
