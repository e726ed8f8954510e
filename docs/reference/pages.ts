import { configurationPage } from './configuration-page.ts'
import { errorsPage } from './errors-page.ts'
import { fsckPage } from './fsck-page.ts'
import { fileName } from './markdown.ts'

/** The text of every generated page, by the name of its file in this folder. */
export function generatedPages(): Map<string, string> {
  const pages = new Map<string, string>()
  for (const language of ['en', 'zh'] as const) {
    pages.set(fileName('configuration', language), configurationPage(language))
    pages.set(fileName('errors', language), errorsPage(language))
    pages.set(fileName('fsck', language), fsckPage(language))
  }
  return pages
}
