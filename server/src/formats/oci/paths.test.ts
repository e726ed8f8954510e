import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createLinks, foldRepositoryName } from './paths.ts'

const word = fc.oneof(
  fc.constantFrom('manifests', 'blobs', 'uploads', 'tags', 'list', 'referrers'),
  fc.stringMatching(/^[a-z0-9]{1,8}$/),
)
const repositoryName = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join('/'))
const digest = `sha256:${'a'.repeat(64)}`

test('a name is folded into one segment, even when it is made of the words that follow names', () => {
  fc.assert(
    fc.property(repositoryName, fc.constantFrom('', '/some/prefix'), (name, prefix) => {
      const folded = encodeURIComponent(name)
      for (const rest of ['manifests/latest', 'tags/list', 'blobs/uploads/', 'blobs/uploads/8c1e-4f']) {
        assert.equal(foldRepositoryName(`${prefix}/v2/${name}/${rest}`, prefix), `${prefix}/v2/${folded}/${rest}`)
      }
      for (const kind of ['manifests', 'blobs', 'referrers']) {
        const expected = `${prefix}/v2/${folded}/${kind}/${encodeURIComponent(digest)}?n=a/b`
        assert.equal(foldRepositoryName(`${prefix}/v2/${name}/${kind}/${digest}?n=a/b`, prefix), expected)
      }
    }),
  )
})

test('URLs without a name stay as they are', () => {
  assert.equal(foldRepositoryName('/v2', ''), '/v2/')
  assert.equal(foldRepositoryName('/registry/v2?ns=docker.io', '/registry'), '/registry/v2/?ns=docker.io')
  for (const url of ['/', '/v2/', '/v2/_catalog?n=1', '/v2/_oci/ext/discover', '/metrics', '/v2/manifests/x']) {
    assert.equal(foldRepositoryName(url, ''), url)
  }
})

test('an escaped slash in a name is not taken for a slash', () => {
  assert.equal(foldRepositoryName('/v2/a%2Fb/manifests/x', ''), '/v2/a%252Fb/manifests/x')
  assert.equal(foldRepositoryName('/v2/a/manifests/x%2Fy', ''), '/v2/a/manifests/x%2Fy')
})

test('any URL is folded without an error', () => {
  fc.assert(fc.property(fc.string(), (text) => void foldRepositoryName(`/v2/${text}`, '')))
})

test('the link to the next page keeps what was asked for', () => {
  const links = createLinks('/registry', 'https://example.test')
  assert.equal(
    links.next('a/b/tags/list', { n: '2', last: 'v1+x' }),
    '<https://example.test/registry/v2/a/b/tags/list?n=2&last=v1%2Bx>; rel="next"',
  )
})
