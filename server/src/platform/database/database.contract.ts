import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Promises, TestedDatabase } from '../../../../test/metadata-engines.ts'
import {
  besideOthers,
  type Connection,
  type Database,
  lockFreeKeys,
  lockKey,
  migrate,
  pagesOf,
  ReadCache,
  SchemaTooNewError,
} from './index.ts'

/** What others commit is known after so long at most, with time for a busy machine. */
const KNOWN_MS = 3_000
/** Until it is certain that others are heard of, where they can be. */
const HEARD_MS = 2_000

type Tables = { things: { rowid: number; name: string; count: number } }

const things = (connection: Connection) => connection.withTables<Tables>()

const STEP = {
  name: 'things',
  up: async ({ schema }: Connection) => {
    await schema
      .createTable('things')
      .addColumn('name', 'text', (column) => column.primaryKey())
      .addColumn('count', 'integer', (column) => column.notNull())
      .execute()
  },
}

/** Opens a database several times, with a table in it. */
async function openTwice(tested: TestedDatabase): Promise<[Database, Database]> {
  const [one, other] = [await tested.open(), await tested.open()]
  await migrate(one, [STEP])
  return [one, other]
}

async function add(database: Database, name: string, count = 0): Promise<void> {
  await database.transaction(async (transaction) => {
    await insert(transaction, name, count)
  })
}

async function insert(connection: Connection, name: string, count = 0): Promise<void> {
  // The engines number the rows.
  await connection
    .withTables<{ things: { name: string; count: number } }>()
    .insertInto('things')
    .values({ name, count })
    .execute()
}

async function countOf(connection: Connection, name: string): Promise<number | undefined> {
  const row = await things(connection).selectFrom('things').select('count').where('name', '=', name).executeTakeFirst()
  return row?.count
}

async function setCount(connection: Connection, name: string, count: number): Promise<void> {
  await things(connection).updateTable('things').set({ count }).where('name', '=', name).execute()
}

async function namesOf(connection: Connection): Promise<string[]> {
  const rows = await things(connection).selectFrom('things').select('name').orderBy('name').execute()
  return rows.map(({ name }) => name)
}

async function ensure(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    if ((await countOf(transaction, 'shared')) === undefined) await insert(transaction, 'shared')
  })
}

/** What every engine promises. */
export const PROMISES: Promises = {
  'what was committed is read at once, from everywhere': async (tested) => {
    const [one, other] = await openTwice(tested)
    for (let count = 0; count < 20; count++) {
      const [writer, reader] = count % 2 === 0 ? [one, other] : [other, one]
      await add(writer, `t${count}`, count)
      assert.equal(await countOf(reader.read, `t${count}`), count)
    }
  },

  'what a transaction throws undoes all that it did, and comes out as it was': async (tested) => {
    const [one] = await openTwice(tested)
    await add(one, 'kept', 1)
    const thrown = new Error('a reason of its own')
    const failed = one.transaction(async (transaction) => {
      await insert(transaction, 'gone')
      await setCount(transaction, 'kept', 2)
      throw thrown
    })
    await assert.rejects(failed, (error) => error === thrown)
    assert.deepEqual(await namesOf(one.read), ['kept'])
    assert.equal(await countOf(one.read, 'kept'), 1)
    await add(one, 'later')
  },

  'of many transactions that read and then write the same, none is lost': async (tested) => {
    const databases = await openTwice(tested)
    await add(databases[0], 'counter')
    const increment = async (database: Database) =>
      database.transaction(async (transaction) => {
        await setCount(transaction, 'counter', ((await countOf(transaction, 'counter')) ?? 0) + 1)
      })
    await Promise.all(
      [...databases, ...databases].map(async (database) => {
        for (let round = 0; round < 10; round++) await increment(database)
      }),
    )
    assert.equal(await countOf(databases[0].read, 'counter'), 40)
  },

  'a transaction that decides by what is not there decides right, whatever others write at the same time': async (
    tested,
  ) => {
    const databases = await openTwice(tested)
    const claim = async (database: Database, name: string) =>
      database.transaction(async (transaction) => {
        if ((await namesOf(transaction)).length > 0) return false
        await insert(transaction, name)
        return true
      })
    const claims = await Promise.all(
      [0, 1, 2, 3].map(async (number) => claim(databases[number % 2] ?? databases[0], `c${number}`)),
    )
    assert.equal(claims.filter(Boolean).length, 1)
    assert.equal((await namesOf(databases[0].read)).length, 1)
  },

  'who finds nothing and adds it is not told of a row that another one added meanwhile': async (tested) => {
    const databases = await openTwice(tested)
    await Promise.all([...databases, ...databases].map(ensure))
    assert.deepEqual(await namesOf(databases[0].read), ['shared'])
  },

  'a deadlock is none: transactions that write the same rows in another order all succeed': async (tested) => {
    const databases = await openTwice(tested)
    await add(databases[0], 'a')
    await add(databases[0], 'b')
    const write = async (database: Database, names: readonly string[]) =>
      database.transaction(async (transaction) => {
        for (const name of names) await setCount(transaction, name, ((await countOf(transaction, name)) ?? 0) + 1)
      })
    await Promise.all(
      databases.map(async (database, number) => {
        for (let round = 0; round < 10; round++) await write(database, number === 0 ? ['a', 'b'] : ['b', 'a'])
      }),
    )
    assert.deepEqual([await countOf(databases[0].read, 'a'), await countOf(databases[0].read, 'b')], [20, 20])
  },

  'pages give every row that stays once, whatever comes and goes meanwhile': async (tested) => {
    const [one, other] = await openTwice(tested)
    for (let number = 0; number < 20; number++) await add(one, `stays${number}`)
    for (let number = 0; number < 5; number++) await add(one, `goes${number}`)
    const seen: string[] = []
    const list = async (after: number) =>
      things(one.read)
        .selectFrom('things')
        .select(['rowid', 'name'])
        .where('rowid', '>', after)
        .orderBy('rowid')
        .limit(7)
        .execute()
    let round = 0
    for await (const page of pagesOf(list)) {
      seen.push(...page.map(({ name }) => name))
      await other.transaction(async (transaction) => {
        await things(transaction).deleteFrom('things').where('name', '=', `goes${round}`).execute()
      })
      round++
    }
    const staying = seen.filter((name) => name.startsWith('stays'))
    assert.deepEqual([staying.length, new Set(staying).size], [20, 20])
  },

  'what is remembered is never older than a commit of this process, or for long than one of another': async (
    tested,
  ) => {
    const [one, other] = await openTwice(tested)
    await add(one, 'tag', 0)
    const cache = new ReadCache<{ count: number }>(one)
    const remembered = async () =>
      (await cache.get('tag', async () => ({ count: (await countOf(one.read, 'tag')) ?? -1 })))?.count
    for (let count = 1; count < 10; count++) {
      await one.transaction(async (transaction) => setCount(transaction, 'tag', count))
      assert.equal(await remembered(), count)
    }
    await sleep(HEARD_MS)
    for (let count = 10; count < 15; count++) {
      await other.transaction(async (transaction) => setCount(transaction, 'tag', count))
      const deadline = performance.now() + KNOWN_MS
      while ((await remembered()) !== count) {
        assert.ok(performance.now() < deadline, `${count} is not known`)
        await sleep(5)
      }
    }
  },

  'while nobody commits, what was read stays remembered where others are heard of, and is read anew elsewhere': async (
    tested,
  ) => {
    const [one] = await openTwice(tested)
    await add(one, 'tag')
    const isRemembered = async () => {
      const { version } = one
      await sleep(1_000)
      return one.version === version
    }
    let seconds = 1
    // On a busy machine word of others may be late for a moment.
    while (!(await isRemembered()) && seconds < 10) seconds++
    assert.equal(seconds < 10, tested.isTold)
  },

  'texts are in the order of their bytes, whole numbers are numbers, and nothing is in an empty list': async (
    tested,
  ) => {
    const [one] = await openTwice(tested)
    const names = ['ä', 'b', 'a', 'B', '_', '1.0', '1-0']
    for (const name of names) await add(one, name, Number.MAX_SAFE_INTEGER)
    assert.deepEqual(await namesOf(one.read), ['1-0', '1.0', 'B', '_', 'a', 'b', 'ä'])
    assert.equal(await countOf(one.read, 'a'), Number.MAX_SAFE_INTEGER)
    assert.deepEqual(await things(one.read).selectFrom('things').select('name').where('name', 'in', []).execute(), [])
    assert.equal(await countOf(one.read, 'a\0'), undefined)
  },

  'of many that start at once each step is taken once, and one that does not know a step refuses': async (tested) => {
    const next = { name: 'next', up: async (connection: Connection) => insert(connection, 'next') }
    const databases = [await tested.open(), await tested.open(), await tested.open()]
    await Promise.all(databases.map(async (database) => migrate(database, [STEP, next])))
    const [one] = databases
    assert.ok(one !== undefined)
    assert.deepEqual(await namesOf(one.read), ['next'])
    await assert.rejects(migrate(one, [STEP]), SchemaTooNewError)
  },

  'it says that it is well': async (tested) => {
    const [one, other] = await openTwice(tested)
    await one.check()
    await other.check()
  },
}

/** What those promise besides on which several processes work. */
export const PROMISES_TO_MANY: Promises = {
  'a transaction that only reads sees one state': async (tested) => {
    const [one, other] = await openTwice(tested)
    await add(one, 'before')
    await one.read.transaction().execute(async (snapshot) => {
      assert.deepEqual(await namesOf(snapshot), ['before'])
      await add(other, 'after')
      assert.deepEqual(await namesOf(snapshot), ['before'])
    })
    assert.deepEqual(await namesOf(one.read), ['after', 'before'])
  },

  'a key is locked by one at a time, and free again when its transaction ends, well or not': async (tested) => {
    const [one, other] = await openTwice(tested)
    const order: string[] = []
    const held = Promise.withResolvers<void>()
    const first = besideOthers(one.read, async (connection) => {
      await lockKey(connection, 'k')
      held.resolve()
      assert.deepEqual(await besideOthers(other.read, async (beside) => lockFreeKeys(beside, ['k', 'free'])), ['free'])
      await sleep(100)
      order.push('first')
      throw new Error('not well')
    })
    await held.promise
    const second = other.transaction(async (transaction) => {
      await lockKey(transaction, 'k')
      order.push('second')
    })
    await assert.rejects(first, /not well/)
    await second
    assert.deepEqual(order, ['first', 'second'])
    assert.deepEqual(await besideOthers(one.read, async (connection) => lockFreeKeys(connection, ['k'])), ['k'])
  },

  'work beside others sees what was committed while it waited for a key': async (tested) => {
    const [one, other] = await openTwice(tested)
    const held = Promise.withResolvers<void>()
    const writing = one.transaction(async (transaction) => {
      await lockKey(transaction, 'k')
      held.resolve()
      await sleep(100)
      await insert(transaction, 'new')
    })
    await held.promise
    const found = await besideOthers(other.read, async (connection) => {
      await countOf(connection, 'new')
      await lockKey(connection, 'k')
      return countOf(connection, 'new')
    })
    await writing
    assert.equal(found, 0)
  },
}
