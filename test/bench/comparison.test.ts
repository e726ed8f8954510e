import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compare, deficitsOf } from '../../bench/report/comparison.ts'
import type { CaseResult, Outcome } from '../../bench/rounds.ts'
import type { KindName } from '../../bench/servers/kinds.ts'

test('each unit that a case was read in becomes a row', () => {
  const rows = compare([
    result('pull', {
      entrepot: rounds([{ 'MB/s': 300, 'cpu s/GiB': 1 }]),
      'distribution-2': rounds([{ 'MB/s': 100, 'cpu s/GiB': 0.5 }]),
    }),
  ])
  assert.deepEqual(
    rows.map(({ unit, advantages }) => [unit, advantages.get('distribution-2')?.median]),
    [
      ['MB/s', 3],
      ['cpu s/GiB', 0.5],
    ],
  )
})

test('a ratio is taken between the figures of the same round', () => {
  const [row] = compare([
    result('list', {
      entrepot: rounds([{ ms: 1 }, { ms: 10 }, { ms: 2 }]),
      'distribution-3': rounds([{ ms: 4 }, { ms: 20 }, { ms: 6 }]),
    }),
  ])
  assert.deepEqual(row?.advantages.get('distribution-3'), { median: 3, lowest: 2, highest: 4 })
  assert.equal(row?.medians.get('entrepot'), 2)
})

test('a server that failed has no figure and no ratio, and the others keep theirs', () => {
  const [row] = compare([
    result('pull', {
      entrepot: rounds([{ 'req/s': 10 }]),
      'distribution-2': { failure: 'status 500' },
      'distribution-3': rounds([{ 'req/s': 5 }]),
    }),
  ])
  assert.deepEqual([...(row?.failed ?? [])], ['distribution-2'])
  assert.equal(row?.advantages.has('distribution-2'), false)
  assert.equal(row?.advantages.get('distribution-3')?.median, 2)
})

test('when Entrepot itself fails nobody is compared with it', () => {
  const [row] = compare([result('pull', { entrepot: { failure: 'ended' }, nginx: rounds([{ 'req/s': 5 }]) })])
  assert.deepEqual([...(row?.failed ?? [])], ['entrepot'])
  assert.equal(row?.advantages.size, 0)
})

test('what is slower is listed with the worst first, and near misses are called noise', () => {
  const rows = compare([
    result('a', { entrepot: rounds([{ 'req/s': 90 }]), nginx: rounds([{ 'req/s': 100 }]) }),
    result('b', { entrepot: rounds([{ ms: 100 }]), nginx: rounds([{ ms: 10 }]) }),
    result('c', { entrepot: rounds([{ MiB: 10 }]), nginx: rounds([{ MiB: 100 }]) }),
  ])
  assert.deepEqual(
    deficitsOf(rows).map(({ row, isWithinNoise }) => [row.label, isWithinNoise]),
    [
      ['b', false],
      ['a', true],
    ],
  )
})

type Figures = Partial<Record<'req/s' | 'MB/s' | 'ms' | 'MiB' | 'cpu s/GiB', number>>

function rounds(figuresOfRounds: readonly Figures[]): Outcome {
  const units = ['req/s', 'MB/s', 'ms', 'MiB', 'cpu s/GiB'] as const
  return {
    rounds: figuresOfRounds.map((figures) =>
      units.flatMap((unit) => {
        const value = figures[unit]
        return value === undefined ? [] : [{ unit, value }]
      }),
    ),
  }
}

function result(label: string, outcomes: Partial<Record<KindName, Outcome>>): CaseResult {
  const kinds = ['entrepot', 'distribution-2', 'distribution-3', 'nginx'] as const
  const found = kinds.flatMap((kind): [KindName, Outcome][] => {
    const outcome = outcomes[kind]
    return outcome === undefined ? [] : [[kind, outcome]]
  })
  return { label, remark: undefined, outcomes: new Map(found) }
}
