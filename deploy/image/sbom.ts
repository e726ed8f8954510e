/** A package whose files are in the image. */
export interface DebianPackage {
  readonly name: string
  readonly version: string
  readonly architecture: string
}

/**
 * The list of all that is in the image: that of npm (CycloneDX 1.5) with the Debian packages, and without what differs
 * each time that it is made.
 * @param isThere whether a path of the program is in the image: npm lists packages for other systems, too.
 */
export function cyclonedx(
  ofNpm: string,
  isThere: (path: string) => boolean,
  packages: readonly DebianPackage[],
): string {
  const bom: unknown = JSON.parse(ofNpm)
  if (!isRecord(bom) || !isRecord(bom['metadata']) || !Array.isArray(bom['components'])) {
    throw new Error('"npm sbom" has not printed what it should')
  }
  const { serialNumber: _serialNumber, ...rest } = bom
  const { timestamp: _timestamp, ...metadata } = bom['metadata']
  const debian = packages.map(({ name, version, architecture }) => ({
    'bom-ref': `debian/${name}@${version}`,
    type: 'library',
    name,
    version,
    purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`,
  }))
  const installed = bom['components'].filter((component) => isThere(pathOf(component)))
  return JSON.stringify({ ...rest, metadata, components: [...installed, ...debian] })
}

/** Where npm has installed a component; the workspaces have no such path. */
function pathOf(component: unknown): string {
  const properties: unknown = isRecord(component) ? component['properties'] : undefined
  const found: unknown = Array.isArray(properties)
    ? properties.find((property) => isRecord(property) && property['name'] === 'cdx:npm:package:path')
    : undefined
  return isRecord(found) ? String(found['value']) : ''
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
