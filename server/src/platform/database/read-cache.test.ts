import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type Database, openSqlite, ReadCache, sql } from './index.ts'

interface Row {
  readonly value: number
}

/** A database with one number in it, and how to read and write that. */
async function numberIn(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-read-cache-'))
  const database: Database = openSqlite(join(folder, 'entrepot.db'))
  t.after(async () => {
    await database.close()
    await rm(folder, { recursive: true, force: true })
  })
  const run = async (statement: string) =>
    database.transaction(async (transaction) => void (await sql.raw(statement).execute(transaction)))
  await run('create table number (value integer)')
  await run('insert into number values (1)')
  const cache = new ReadCache<Row>(database)
  const bounded = new ReadCache<Row>(database, { bytes: 400, sizeOf: ({ value }) => value })
  const read = async (): Promise<Row | undefined> => {
    const [row] = (await sql<Row>`select value from number`.execute(database.read)).rows
    return row && { value: row.value }
  }
  return { cache, bounded, read, write: async (value: number) => run(`update number set value = ${value}`) }
}

test('what was read is given again without a read, until something is committed', async (t) => {
  const { cache, read, write } = await numberIn(t)
  let reads = 0
  const counted = async () => {
    reads += 1
    return read()
  }
  assert.deepEqual(
    [await cache.get('number', counted), await cache.get('number', counted)],
    [{ value: 1 }, { value: 1 }],
  )
  assert.equal(reads, 1)
  await write(2)
  assert.deepEqual(await cache.get('number', counted), { value: 2 })
})

test('what was read while something was committed is not remembered, whoever asked for something else meanwhile', async (t) => {
  const { cache, read, write } = await numberIn(t)
  const before = await cache.get('number', async () => {
    const value = await read()
    await write(2)
    // From here on the cache holds what was read since that commit.
    assert.deepEqual(await cache.get('other', read), { value: 2 })
    return value
  })
  assert.deepEqual(before, { value: 1 }, 'it was read before')
  assert.deepEqual(await cache.get('number', read), { value: 2 })
})

test('those who ask while it is read wait for that; those who ask after a commit do not', async (t) => {
  const { cache, read, write } = await numberIn(t)
  const reads: Array<PromiseWithResolvers<Row | undefined>> = []
  const ask = async () =>
    cache.get('number', async () => {
      const reading = Promise.withResolvers<Row | undefined>()
      reads.push(reading)
      return reading.promise
    })
  const before = [ask(), ask()]
  assert.equal(reads.length, 1)
  await write(2)
  const after = [ask(), ask()]
  assert.equal(reads.length, 2)
  reads[1]?.resolve(await read())
  assert.deepEqual(await Promise.all(after), [{ value: 2 }, { value: 2 }])
  reads[0]?.resolve({ value: 1 })
  assert.deepEqual(await Promise.all(before), [{ value: 1 }, { value: 1 }])
  assert.deepEqual(await ask(), { value: 2 }, 'what was read before the commit is not remembered')
})

test('a read that fails, fails for all who wait for it, and the next one reads again', async (t) => {
  const { cache, read } = await numberIn(t)
  const failure = Promise.reject(new Error('nobody answers'))
  const outcomes = await Promise.allSettled([cache.get('number', async () => failure), cache.get('number', read)])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.deepEqual(await cache.get('number', read), { value: 1 })
})

test('large values are remembered up to a number of bytes, and none that is a great part of them', async (t) => {
  const { bounded } = await numberIn(t)
  const isRemembered = async (key: string, value: number): Promise<boolean> => {
    let wasRead = false
    await bounded.get(key, async () => ({ value }))
    await bounded.get(key, async () => {
      wasRead = true
      return { value }
    })
    return !wasRead
  }
  assert.equal(await isRemembered('a', 120), false)
  for (const key of ['a', 'b', 'c', 'd', 'e']) assert.equal(await isRemembered(key, 90), true)
  assert.deepEqual(await bounded.get('a', async () => ({ value: 1 })), { value: 1 }, 'the oldest made room')
})
