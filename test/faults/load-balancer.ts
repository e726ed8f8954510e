import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { run, SEARCH_PATH } from '../clients/programs.ts'
import { readBlocks, stepsOf } from '../guide/guide-text.ts'

const HEADING = 'Behind nginx'
const SERVERS = /^( +server )127\.0\.0\.1:500\d( .*;)$/gm

/**
 * Starts nginx in front of registries, with the `nginx.conf` of the guide, and ends it with the test.
 * @param port where it listens.
 * @param hosts the registries, as `127.0.0.1:<port>`.
 */
export async function startLoadBalancer(t: TestContext, port: number, hosts: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'entrepot-nginx-'))
  // Run by root, nginx works as another user.
  await chmod(folder, 0o755)
  const blocks = await readBlocks('several-instances', 'en')
  const settings = blocks.find((block) => block.heading === HEADING && block.language === 'nginx')
  const [line = ''] = settings?.text.match(SERVERS) ?? []
  assert.ok(settings !== undefined && line !== '', 'the guide has no nginx.conf')
  const servers = hosts.map((host) => line.replace(SERVERS, `$1${host}$2`)).join('\n')
  const text = settings.text.replace('listen 127.0.0.1:5000', `listen 127.0.0.1:${port}`).replace(line, servers)
  await writeFile(join(folder, 'nginx.conf'), text.replaceAll(/^ +server 127\.0\.0\.1:500\d .*\n/gm, ''))
  const options = { cwd: folder, env: { PATH: SEARCH_PATH } }
  t.after(async () => {
    await run('nginx', ['-p', folder, '-e', 'error.log', '-c', 'nginx.conf', '-s', 'stop'], options)
    await rm(folder, { recursive: true, force: true })
  })
  for (const step of stepsOf(blocks, HEADING)) await run('sh', ['-ec', step.commands], options)
}
