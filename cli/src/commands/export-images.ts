import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Command } from 'commander'
import { withManagement } from '../management-client.ts'
import { startProgress } from '../progress.ts'
import { sizeText } from '../size-text.ts'

/** An archive that is whole ends with so many zeros. */
const END_BYTES = 1_024

/** `entrepot export oci-layout|docker-archive <name[:tag|@digest]> <file|-> [config.yml]` */
export function exportImages(form: 'oci-layout' | 'docker-archive'): Command {
  const isLayout = form === 'oci-layout'
  return new Command(form)
    .description(
      isLayout
        ? 'write an image, or all of an index, as a tar archive of an OCI image layout'
        : 'write an image for "docker load" and "podman load"',
    )
    .argument('<image>', 'name, name:tag or name@digest; without a tag it is "latest"')
    .argument('<file>', 'where to write it; "-" is standard output')
    .argument('[config.yml]', 'the file; without it what "entrepot serve" would use')
    .addHelpText(
      'after',
      `
Digests stay the same.${isLayout ? '' : ' Of an index the image for linux/amd64 is written: name another one by its digest.'}

Example:
  entrepot export ${form} team/app:1.0 app.tar`,
    )
    .action(async (image: string, target: string, file: string | undefined) => {
      const query = new URLSearchParams({ form, ...split(image) })
      await withManagement(file, async (client) => {
        const counted = { bytes: 0 }
        const endProgress = startProgress(() => `${sizeText(counted.bytes)} written`)
        try {
          const archive = await client.download(`exports/images?${query.toString()}`)
          const check = checkEnd(counted)
          if (target === '-') await pipeline(archive, check, process.stdout, { end: false })
          else await writeWhole(target, async (part) => pipeline(archive, check, createWriteStream(part)))
        } finally {
          endProgress()
        }
        process.stderr.write(`wrote ${image}: ${sizeText(counted.bytes)}\n`)
      })
    })
}

/** Gives a file its name when all of it is there. */
async function writeWhole(target: string, write: (part: string) => Promise<void>): Promise<void> {
  const part = `${target}.part`
  try {
    await write(part)
    await rename(part, target)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
}

/** Passes an archive on, counts its bytes, and fails when it was cut off. */
function checkEnd(counted: { bytes: number }): Transform {
  let last = Buffer.alloc(0)
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      counted.bytes += chunk.length
      last = Buffer.concat([last, chunk.subarray(-END_BYTES)]).subarray(-END_BYTES)
      done(null, chunk)
    },
    flush: (done) => {
      const isWhole = last.length === END_BYTES && last.every((byte) => byte === 0)
      done(isWhole ? null : new Error('the archive was cut off; the log of the server may say why'))
    },
  })
}

function split(image: string): { repository: string; reference: string } {
  const at = image.indexOf('@')
  if (at >= 0) return { repository: image.slice(0, at), reference: image.slice(at + 1) }
  const colon = image.lastIndexOf(':')
  if (colon < 0) return { repository: image, reference: 'latest' }
  return { repository: image.slice(0, colon), reference: image.slice(colon + 1) }
}
