import { chmod, copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../clients/programs.ts'
import type { Sandbox } from '../clients/sandbox.ts'

const BUILD_TIMEOUT_MS = 600_000
const PACKAGES = ['curl', 'nginx-light', 'postgresql-15']
const POSTGRES = '/usr/lib/postgresql/15'
const PGDATA = '/var/lib/postgresql/data'
/** What none of the programs reads; without the compiler PostgreSQL compiles no queries. */
const UNUSED_PATHS = [
  'usr/lib/x86_64-linux-gnu/libLLVM-14.so.1',
  'usr/lib/x86_64-linux-gnu/libz3.so.4',
  `${POSTGRES}/lib/llvmjit.so`,
  `${POSTGRES}/lib/bitcode`,
  'usr/share/doc',
  'usr/share/i18n',
  'usr/share/locale',
  'usr/share/man',
  'var/cache/apt',
  'var/lib/apt/lists',
]

/** What the published image of PostgreSQL promises of its start, as far as deploy/compose relies on it. */
const ENTRYPOINT = `#!/bin/sh
set -e
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust $POSTGRES_INITDB_ARGS
  rm /tmp/password
  echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait --options='-c listen_addresses=' start
  createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  pg_ctl --wait stop
fi
exec "$@"
`

/**
 * Makes one image that stands for those of PostgreSQL, MinIO and nginx, where no registry has them: the programs of Debian
 * and the MinIO of this machine, with the paths, users and variables that the published images have.
 */
export async function makeStandInImage(sandbox: Sandbox, name: string): Promise<void> {
  const root = sandbox.newPath('stand-in')
  const include = `--include=${PACKAGES.join(',')}`
  await run('debootstrap', ['--variant=minbase', include, 'bookworm', root], { timeoutMs: BUILD_TIMEOUT_MS })
  for (const path of UNUSED_PATHS) await rm(join(root, path), { recursive: true })
  await copyFile((await run('which', ['minio'])).trim(), join(root, 'usr/bin/minio'))
  await writeFile(join(root, 'entrypoint'), ENTRYPOINT, { mode: 0o755 })
  await mkdir(join(root, PGDATA))
  await run('chroot', [root, 'chown', 'postgres:postgres', PGDATA])
  await chmod(join(root, PGDATA), 0o1777)
  await chmod(join(root, 'run/postgresql'), 0o3777)
  const changes = [
    'ENTRYPOINT ["/entrypoint"]',
    `ENV PATH=${POSTGRES}/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    `ENV PGDATA=${PGDATA}`,
  ]
  const options = changes.flatMap((change) => ['--change', change])
  const script = 'tar --create --directory "$1" . | docker import "$2" "$3" "$4" "$5" "$6" "$7" - "$8"'
  await sandbox.run('sh', '-c', script, 'sh', root, ...options, name)
  await rm(root, { recursive: true })
}
