import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../docs/guide/', import.meta.url))
const CHINESE = '.zh-CN.md'

/** A fenced block of a guide. */
export interface Block {
  /** What stands behind the fence: `sh`, `text`, `yaml`, … */
  readonly language: string
  readonly text: string
  /** The heading that it stands under. */
  readonly heading: string
}

/** Commands, and what they are said to print; undefined where the guide does not say. */
export interface Step {
  readonly commands: string
  readonly output: string | undefined
}

/** The names of all guides, without the language and the ending. */
export async function guideNames(): Promise<string[]> {
  const files = await readdir(FOLDER)
  return files
    .filter((file) => file.endsWith('.md') && !file.endsWith(CHINESE))
    .map((file) => file.replace(/\.md$/, ''))
}

/** The fenced blocks of a guide, in order. */
export async function readBlocks(name: string, language: 'en' | 'zh'): Promise<Block[]> {
  const text = await readFile(`${FOLDER}${name}${language === 'en' ? '.md' : CHINESE}`, 'utf8')
  const blocks: Block[] = []
  let heading = ''
  for (const [, title, fence, body] of text.matchAll(/^#+ (.+)$|^```(\S*)\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title
    else blocks.push({ language: fence ?? '', text: body ?? '', heading })
  }
  return blocks
}

/** The steps under one heading; under all when none is given. */
export function stepsOf(blocks: readonly Block[], heading?: string): Step[] {
  return blocks.flatMap((block, index) => {
    if (block.language !== 'sh' || (heading !== undefined && block.heading !== heading)) return []
    const next = blocks[index + 1]
    return [{ commands: block.text, output: next?.language === 'text' ? next.text : undefined }]
  })
}

/**
 * What a guide shows, as an expression: `…` stands for anything, `<digest>` for a digest's hexadecimal digits, the same
 * wherever it stands; all else for itself.
 */
export function toPattern(shown: string): RegExp {
  let digests = 0
  const source = shown.trimEnd().replaceAll(/…\s?|<digest>|[\\^$.*+?()[\]{}|]/g, (special) => {
    if (special.startsWith('…')) return '[\\s\\S]*'
    if (special !== '<digest>') return `\\${special}`
    digests += 1
    return digests === 1 ? '(?<digest>[0-9a-f]{64})' : '\\k<digest>'
  })
  return new RegExp(`^${source}$`)
}
