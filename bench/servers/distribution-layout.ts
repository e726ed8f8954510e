import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

/*
 * distribution (2 and 3) keeps names as folders:
 *
 *   docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
 *                                   <name>/_manifests/revisions/sha256/<hex>/link
 *                                   <name>/_manifests/tags/<tag>/current/link
 *
 * Lists read the folders <name>, _layers, _manifests and <tag>, so these are made as they are; what lies below them is
 * a symbolic link to the same place in a repository that was pushed. All names can be pulled, and the disk has to make
 * and remove a fifth of the files.
 */

/** Gives more tags to a repository that has been pushed to a distribution registry, without asking the registry. */
export function layOutTags(dataFolder: string, repository: string, pushedTag: string, tags: readonly string[]): void {
  const folder = join(repositoryFolder(dataFolder, repository), '_manifests/tags')
  for (const tag of tags) {
    mkdirSync(join(folder, tag))
    symlinkSync(`../${pushedTag}/current`, join(folder, tag, 'current'))
  }
}

/** Makes more repositories with the content of one that has been pushed to a distribution registry. */
export function layOutRepositories(dataFolder: string, pushed: string, names: readonly string[]): void {
  const source = repositoryFolder(dataFolder, pushed)
  for (const name of names) {
    const folder = repositoryFolder(dataFolder, name)
    mkdirSync(join(folder, '_layers'), { recursive: true })
    mkdirSync(join(folder, '_manifests'))
    for (const part of ['_layers/sha256', '_manifests/revisions', '_manifests/tags']) {
      symlinkSync(join(source, part), join(folder, part))
    }
  }
}

function repositoryFolder(dataFolder: string, repository: string): string {
  return join(dataFolder, 'docker/registry/v2/repositories', repository)
}
