import type { DebianImages } from './debian-images.ts'
import type { HeldImage } from './oci-layout.ts'
import type { ClientName } from './programs.ts'

/** What every client can do, behind one face, so that each can pull what any other has pushed. */
export interface Client {
  readonly name: ClientName
  /** Sends the amd64 Debian image from the client's own storage to the registry. */
  push(images: DebianImages, reference: string): Promise<void>
  /** Whether it turns Docker's format into OCI's when it pulls, which makes another manifest of the same image. */
  readonly convertsToOci?: boolean
  /** Gets an image into empty storage and tells what the client then holds. */
  pull(reference: string): Promise<HeldImage>
}
