import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { type Migration, migrate, openSqlite, SchemaTooNewError } from './index.ts'

const step = (name: string): Migration => ({
  name,
  up: async (transaction) => {
    await transaction.schema.createTable(name).addColumn('id', 'integer').execute()
  },
})

async function databaseFile(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-database-'))
  t.after(async () => rm(folder, { recursive: true, force: true }))
  return join(folder, 'entrepot.db')
}

test('each step is taken once, and new ones at the next start', async (t) => {
  const file = await databaseFile(t)
  const first = openSqlite(file)
  await migrate(first, [step('a')])
  await migrate(first, [step('a')])
  await first.close()
  const second = openSqlite(file)
  await migrate(second, [step('a'), step('b')])
  await second.close()
})

test('a step that fails leaves nothing of itself and is taken again', async (t) => {
  const database = openSqlite(await databaseFile(t))
  t.after(async () => database.close())
  const failing: Migration = {
    name: 'b',
    up: async (transaction) => {
      await step('b').up(transaction)
      throw new Error('power cut')
    },
  }
  await assert.rejects(migrate(database, [step('a'), failing]), /power cut/)
  await migrate(database, [step('a'), step('b')])
})

test('a step that one room adds comes before the older steps of another without harm', async (t) => {
  const database = openSqlite(await databaseFile(t))
  t.after(async () => database.close())
  await migrate(database, [step('a1'), step('b1')])
  await migrate(database, [step('a1'), step('a2'), step('b1')])
  await migrate(database, [step('a1'), step('a2'), step('b1')])
})

test('an older program refuses a database that a newer one has upgraded', async (t) => {
  const database = openSqlite(await databaseFile(t))
  t.after(async () => database.close())
  await migrate(database, [step('a'), step('b')])
  await assert.rejects(migrate(database, [step('a')]), SchemaTooNewError)
})

test('what a transaction did is undone when it fails, and others do not see it before it ends', async (t) => {
  const database = openSqlite(await databaseFile(t))
  t.after(async () => database.close())
  await migrate(database, [step('a')])
  const rows = async () => {
    const found = await database.read.withTables<{ a: { id: number } }>().selectFrom('a').selectAll().execute()
    return found.length
  }
  await assert.rejects(
    database.transaction(async (transaction) => {
      await transaction.withTables<{ a: { id: number } }>().insertInto('a').values({ id: 1 }).execute()
      assert.equal(await rows(), 0)
      throw new Error('changed my mind')
    }),
    /changed my mind/,
  )
  assert.equal(await rows(), 0)
})
