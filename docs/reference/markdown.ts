/** The languages of the documents. */
export type Language = 'en' | 'zh'

export interface Page {
  /** The file's name, without language and ending. */
  readonly name: string
  /** The files that the page is made of. */
  readonly sources: readonly string[]
  readonly language: Language
  readonly title: string
  /** Paragraphs, tables and headings, in order. */
  readonly body: readonly string[]
}

/** The name of a page's file. */
export function fileName(name: string, language: Language): string {
  return language === 'en' ? `${name}.md` : `${name}.zh-CN.md`
}

/** A whole page, with a link to the other language and a word on where it comes from. */
export function page({ name, sources, language, title, body }: Page): string {
  const [label, other] = language === 'en' ? ['简体中文', 'zh' as const] : ['English', 'en' as const]
  const links = sources.map((source) => `[${source}](../../${source})`)
  const origin =
    language === 'en'
      ? `Made by \`npm run docs\` of ${links.join(', ')}: edit those, not this page.`
      : `本页由 \`npm run docs\` 根据 ${links.join('、')} 生成，请修改源文件，不要直接修改本页。`
  return [`# ${title}`, `[${label}](${fileName(name, other)})`, ...body, origin, ''].join('\n\n').trimEnd() + '\n'
}

const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

/** A table; a bar within a cell is escaped. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}

export function code(text: string): string {
  return `\`${text}\``
}
