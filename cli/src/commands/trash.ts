import { Command } from 'commander'
import type { ForgottenTrash, Restored, TrashEntry, TrashPage } from '@entrepot/server/management'
import { type ManagementClient, withManagement } from '../management-client.ts'

const FILE_HELP = 'the file; without it what "entrepot serve" would use'

interface Options {
  readonly repository?: string
  readonly as?: string
  readonly json?: boolean
}

/** `entrepot trash list|restore|empty` */
export function trash(): Command {
  return new Command('trash')
    .description('see and undo what was deleted')
    .addCommand(list())
    .addCommand(restore())
    .addCommand(empty())
}

function list(): Command {
  return new Command('list')
    .description('list deleted tags and manifests that can be restored')
    .argument('[config.yml]', FILE_HELP)
    .option('--repository <name>', 'only what this repository had')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  entrepot trash list --repository library/debian')
    .action(async (file: string | undefined, options: Options) => {
      await withManagement(file, async (client) => {
        const entries = await listAll(client, options.repository)
        if (options.json === true) process.stdout.write(`${JSON.stringify({ entries })}\n`)
        else for (const entry of entries) process.stdout.write(`${toLine(entry)}\n`)
      })
    })
}

function restore(): Command {
  return new Command('restore')
    .description('bring a deleted tag or manifest back')
    .argument('<repository>', 'the name of the repository')
    .argument('<reference>', 'the tag, or the digest of the manifest')
    .argument('[config.yml]', FILE_HELP)
    .option('--as <tag>', 'restore a tag under another name')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  entrepot trash restore library/debian 12')
    .action(async (repository: string, reference: string, file: string | undefined, options: Options) => {
      await withManagement(file, async (client) => {
        const body = { repository, reference, ...(options.as !== undefined && { as: options.as }) }
        const restored = await client.request<Restored>('POST', 'trash/restorations', body)
        process.stdout.write(options.json === true ? `${JSON.stringify(restored)}\n` : describe(repository, restored))
      })
    })
}

function empty(): Command {
  return new Command('empty')
    .description('give up what was deleted, so that its space can be freed')
    .argument('[config.yml]', FILE_HELP)
    .option('--repository <name>', 'only what this repository had')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  entrepot trash empty --repository library/debian')
    .action(async (file: string | undefined, options: Options) => {
      await withManagement(file, async (client) => {
        const forgotten = await client.request<ForgottenTrash>('DELETE', `trash${queryOf(options.repository)}`)
        const text = `no longer in the trash: manifests ${forgotten.manifests}, tags ${forgotten.tags}\n`
        process.stdout.write(options.json === true ? `${JSON.stringify(forgotten)}\n` : text)
      })
    })
}

async function listAll(client: ManagementClient, repository: string | undefined): Promise<TrashEntry[]> {
  const entries: TrashEntry[] = []
  let after: string | undefined
  do {
    const page: TrashPage = await client.request('GET', `trash${queryOf(repository, after)}`)
    entries.push(...page.entries)
    after = page.next
  } while (after !== undefined)
  return entries
}

function queryOf(repository: string | undefined, after?: string): string {
  const query = new URLSearchParams()
  if (repository !== undefined) query.set('repository', repository)
  if (after !== undefined) query.set('after', after)
  return query.size === 0 ? '' : `?${query.toString()}`
}

function toLine({ repository, digest, tag, deletedAt, reason }: TrashEntry): string {
  return `${deletedAt}  ${reason.padEnd(7)}  ${repository}${tag === undefined ? '' : `:${tag}`}@${digest}`
}

function describe(repository: string, { digest, manifests, tags, takenTags }: Restored): string {
  const lines = [
    ...manifests.map((manifest) => `restored ${repository}@${manifest}`),
    ...tags.map((tag) => `restored ${repository}:${tag}, which stands for ${digest}`),
    ...takenTags.map((tag) => `left ${repository}:${tag} as it is: it stands for something else now`),
  ]
  return lines.map((line) => `${line}\n`).join('')
}
