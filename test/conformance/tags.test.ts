import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imageDocument, mediaTypes, uniqueName } from '../content.ts'
import {
  type Answer,
  type RegistryClient,
  assertRefused,
  describe,
  record,
  startClient,
  strings,
} from '../registry-client.ts'

const TAGS = ['1.0', '1.10', '1.9', 'A', 'B', '_x', 'a', 'a-b', 'a.b', 'b', 'latest', 'z']
const INVALID_NUMBERS = ['-1', 'abc', '1.5', '1e3', '0x10', '%20', '1,2', '9'.repeat(40), '+1', '%00']

test('listing tags', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)
  const name = await repositoryWith(client, TAGS)
  const sorted = tagsOf(await client.get(`/v2/${name}/tags/list`), name)

  void t.test(
    'spec "Listing Tags": all tags are listed with 200 as JSON under the name of the repository',
    async () => {
      const answer = await client.get(`/v2/${name}/tags/list`)
      assert.match(answer.header('content-type') ?? '', /^application\/json(;|$)/)
      assert.deepEqual(Object.keys(record(answer.json())).toSorted(), ['name', 'tags'])
      assert.deepEqual(tagsOf(answer, name).toSorted(), TAGS.toSorted())
      assert.equal(client.next(answer), undefined)
    },
  )

  void t.test('spec "Listing Tags": the order is lexical or ASCIIbetical', () => {
    const ascii = sorted.toSorted(byCharacters)
    const lexical = sorted.toSorted((a, b) => byCharacters(a.toLowerCase(), b.toLowerCase()))
    const isLexical = sorted.every((tag, index) => tag.toLowerCase() === lexical[index]?.toLowerCase())
    assert.ok(isLexical || sorted.every((tag, index) => tag === ascii[index]), sorted.join(' '))
  })

  void t.test('spec "Listing Tags": n gives that many tags from the beginning, and a link to the next', async () => {
    for (const n of [1, 5, TAGS.length - 1]) {
      const answer = await client.get(`/v2/${name}/tags/list?n=${n}`)
      assert.deepEqual(tagsOf(answer, name), sorted.slice(0, n))
      const next = client.next(answer)
      assert.ok(next)
      assert.deepEqual(tagsOf(await client.get(next), name), sorted.slice(n, 2 * n))
    }
  })

  void t.test('spec "Listing Tags": the links lead through all tags, each once', async () => {
    for (const n of [1, 5, TAGS.length, 1000]) {
      const found: string[] = []
      let next: string | undefined = `/v2/${name}/tags/list?n=${n}`
      for (let pages = 0; next !== undefined && pages <= TAGS.length; pages += 1) {
        const answer: Answer = await client.get(next)
        found.push(...tagsOf(answer, name))
        next = client.next(answer)
      }
      assert.deepEqual(found, sorted)
    }
  })

  void t.test('spec "Listing Tags": an n that is larger than the list gives all of it', async () => {
    for (const n of [TAGS.length, 1000, 1_000_000_000]) {
      assert.deepEqual(tagsOf(await client.get(`/v2/${name}/tags/list?n=${n}`), name), sorted)
    }
  })

  void t.test('spec "Listing Tags": an n of zero gives an empty list without a link', async () => {
    for (const query of ['n=0', 'n=0&last=a', 'last=a&n=0']) {
      const answer = await client.get(`/v2/${name}/tags/list?${query}`)
      assert.deepEqual(tagsOf(answer, name), [])
      assert.equal(answer.header('link'), undefined)
    }
  })

  void t.test('spec "Listing Tags": last gives the tags after it, with n and without', async () => {
    for (const [index, last] of sorted.entries()) {
      const rest = sorted.slice(index + 1)
      assert.deepEqual(tagsOf(await client.get(`/v2/${name}/tags/list?last=${last}`), name), rest)
      assert.deepEqual(tagsOf(await client.get(`/v2/${name}/tags/list?n=2&last=${last}`), name), rest.slice(0, 2))
      assert.deepEqual(tagsOf(await client.get(`/v2/${name}/tags/list?last=${last}&n=100`), name), rest)
    }
  })

  void t.test('spec "Listing Tags": last need not be a tag that exists', async () => {
    const other = await repositoryWith(client, ['b', 'd', 'f'])
    for (const [last, rest] of Object.entries({ a: 'bdf', c: 'df', d1: 'f', e: 'f', f: '', g: '', z: '' })) {
      assert.deepEqual(
        tagsOf(await client.get(`/v2/${other}/tags/list?last=${last}`), other),
        rest.split('').filter(Boolean),
      )
    }
    assert.equal((await client.delete(`/v2/${other}/manifests/d`)).status, 202)
    assert.deepEqual(tagsOf(await client.get(`/v2/${other}/tags/list?n=1&last=d`), other), ['f'])
  })

  void t.test('Docker: an n that is no whole number is refused with PAGINATION_NUMBER_INVALID', async () => {
    for (const n of INVALID_NUMBERS) {
      assertRefused(await client.get(`/v2/${name}/tags/list?n=${n}`), 400, 'PAGINATION_NUMBER_INVALID')
    }
  })

  void t.test('spec "Listing Tags": a repository without tags has an empty list, not null', async () => {
    const other = uniqueName()
    await client.pushImage(other)
    assert.deepEqual((await client.get(`/v2/${other}/tags/list`)).json(), { name: other, tags: [] })
    assert.deepEqual((await client.get(`/v2/${other}/tags/list?n=10&last=a`)).json(), { name: other, tags: [] })
  })

  void t.test('spec "Listing Tags": a deleted tag is no longer listed, its repository still is', async () => {
    const other = await repositoryWith(client, ['a', 'b'])
    for (const [tag, rest] of [
      ['a', ['b']],
      ['b', []],
    ] as const) {
      assert.equal((await client.delete(`/v2/${other}/manifests/${tag}`)).status, 202)
      assert.deepEqual(tagsOf(await client.get(`/v2/${other}/tags/list`), other), rest)
    }
  })

  void t.test('Docker: what is pushed is listed at once, however often the lists were asked for before', async () => {
    const other = await repositoryWith(client, ['a'])
    const lists = [`/v2/${other}/tags/list`, `/v2/${other}/tags/list?n=100`, `/v2/${other}/tags/list?last=0`]
    const pushed = ['a']
    for (const reference of ['b', 'c', 'd']) {
      for (const list of [...lists, ...lists]) assert.deepEqual(tagsOf(await client.get(list), other), pushed)
      const catalog = repositoriesOf(await client.get('/v2/_catalog'))
      const another = uniqueName()
      await client.pushImage(another)
      assert.ok(!catalog.includes(another))
      assert.ok(repositoriesOf(await client.get('/v2/_catalog')).includes(another))
      await client.pushImage(other, { reference })
      pushed.push(reference)
    }
  })

  void t.test('spec "Endpoints": the tags of an unknown repository are answered with 404', async () => {
    for (const query of ['', '?n=0', '?n=1', '?last=a']) {
      assertRefused(await client.get(`/v2/${uniqueName()}/tags/list${query}`), 404, 'NAME_UNKNOWN')
    }
  })
})

test('listing repositories', { concurrency: 4 }, async (t) => {
  const client = await startClient(t)

  const empty = await client.get('/v2/_catalog')
  const names = ['a', 'a/b', 'a/b/c', 'a-b', 'b', 'library/x', 'z/0']
  for (const name of names) await client.pushImage(name, { reference: 'v1' })
  const sorted = repositoriesOf(await client.get('/v2/_catalog'))

  void t.test('Docker: the catalog of an empty registry is an empty list, not null', () => {
    assert.equal(empty.status, 200)
    assert.deepEqual(empty.json(), { repositories: [] })
  })

  void t.test('Docker: the catalog lists each repository once, in order', () => {
    assert.deepEqual(sorted.toSorted(), names.toSorted())
    assert.deepEqual(sorted, names.toSorted(byCharacters))
  })

  void t.test('Docker: n, last and the links lead through the catalog', async () => {
    for (const n of [1, 3, names.length, 1000]) {
      const found: string[] = []
      let next: string | undefined = `/v2/_catalog?n=${n}`
      for (let pages = 0; next !== undefined && pages <= names.length; pages += 1) {
        const answer: Answer = await client.get(next)
        const page = repositoriesOf(answer)
        found.push(...page)
        next = client.next(answer)
        if (next !== undefined) assert.equal(page.length, n)
      }
      assert.deepEqual(found, sorted)
    }
    for (const [index, last] of sorted.entries()) {
      const answer = await client.get(`/v2/_catalog?last=${encodeURIComponent(last)}`)
      assert.deepEqual(repositoriesOf(answer), sorted.slice(index + 1))
    }
    assert.deepEqual(repositoriesOf(await client.get('/v2/_catalog?n=2&last=a0')), ['b', 'library/x'])
  })

  void t.test('Docker: an n of zero gives an empty catalog without a link', async () => {
    const answer = await client.get('/v2/_catalog?n=0')
    assert.deepEqual(repositoriesOf(answer), [])
    assert.equal(answer.header('link'), undefined)
  })

  void t.test('Docker: an n of the catalog that is no whole number is refused', async () => {
    for (const n of INVALID_NUMBERS) {
      assertRefused(await client.get(`/v2/_catalog?n=${n}`), 400, 'PAGINATION_NUMBER_INVALID')
    }
  })

  void t.test('extension "_oci": the extensions of the registry can be discovered', async () => {
    await assertDiscovery(client, '/v2/_oci/ext/discover')
  })

  void t.test('extension "_oci": the extensions of a repository can be discovered', async () => {
    await assertDiscovery(client, '/v2/a/b/_oci/ext/discover')
  })

  void t.test(
    'extension "Registry-Level Extensions": an extension that is not there is answered with 404',
    async () => {
      assertRefused(await client.get('/v2/_unknown/component/module'), 404)
      assertRefused(await client.get('/v2/a/_unknown/component/module'), 404)
      assertRefused(await client.get('/v2/_oci/ext/unknown'), 404)
    },
  )
})

/** A repository with one image under these tags. */
async function repositoryWith(client: RegistryClient, tags: readonly string[]): Promise<string> {
  const name = uniqueName()
  const bytes = imageDocument(await client.pushBlob(name), [])
  for (const reference of tags) await client.pushManifest(name, bytes, mediaTypes.image, { reference })
  return name
}

function tagsOf(answer: Answer, name: string): string[] {
  assert.equal(answer.status, 200, describe(answer))
  const body = record(answer.json())
  assert.equal(body['name'], name)
  return strings(body['tags'])
}

function repositoriesOf(answer: Answer): string[] {
  assert.equal(answer.status, 200, describe(answer))
  return strings(record(answer.json())['repositories'])
}

/** Asserts the format of an extension list, and that each endpoint it names is there. */
async function assertDiscovery(client: RegistryClient, target: string): Promise<void> {
  const answer = await client.get(target)
  assert.equal(answer.status, 200, describe(answer))
  assert.match(answer.header('content-type') ?? '', /^application\/json(;|$)/)
  assert.equal(answer.header('content-length'), String(answer.body.length))
  const { extensions } = record(answer.json())
  assert.ok(Array.isArray(extensions))
  for (const extension of extensions.map(record)) {
    assert.match(String(extension['name']), /^_[a-z0-9]+(?:[._-][a-z0-9]+)*$/)
    assert.ok(typeof extension['url'] === 'string' && URL.canParse(extension['url']), String(extension['url']))
    assert.ok(['string', 'undefined'].includes(typeof extension['description']))
    for (const endpoint of strings(extension['endpoints'])) {
      const url = new URL(endpoint, target.startsWith('/v2/_') ? `${client.origin}/v2/` : `${client.origin}/v2/a/b/`)
      assert.equal((await client.get(url.href)).status, 200, endpoint)
    }
  }
}

function byCharacters(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
