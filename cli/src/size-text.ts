const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const
const STEP = 1024

/** A number of bytes for people: `1.5 GiB (1,610,612,736 bytes)`, or `120 B`. */
export function sizeText(bytes: number): string {
  const power = bytes < STEP ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1)
  if (power === 0) return `${bytes} B`
  return `${(bytes / STEP ** power).toFixed(1)} ${UNITS[power]} (${countText(bytes)} bytes)`
}

/** A number with a comma between thousands, whatever the language of the machine. */
export function countText(count: number): string {
  return count.toLocaleString('en-US')
}

/** `1 blob`, `2,000 blobs`. */
export function counted(count: number, noun: string): string {
  return `${countText(count)} ${noun}${count === 1 ? '' : 's'}`
}
