import { basename, dirname } from 'node:path'

/** What `SyncLedger` reads: every thread's calls that change files or send answers, with the paths of descriptors. */
export const TRACE_OPTIONS = [
  '-f',
  '-yy',
  '--string-limit=0',
  '--seccomp-bpf',
  `--trace=${[
    'write,writev,pwrite64,pwritev,pwritev2,ftruncate,fsync,fdatasync,openat',
    '?rename,?renameat,?renameat2,?mkdir,?mkdirat,?unlink,?unlinkat',
  ].join()}`,
] as const

const DATABASE = 'entrepot.db'
const LOG = 'entrepot.db-wal'
const PROMISED = /^(blobs|quarantine)(\/|$)|^entrepot\.db(-wal)?$/

/** A call that succeeded. */
interface Call {
  readonly thread: string
  readonly name: string
  readonly args: string
  /** The line on which it began: a sync covers what came before that. */
  readonly begun: number
}

/**
 * Holds a trace to the strictest disk that POSIX allows: bytes are on it when their file was synced after they were
 * written, a name when its folder was (fsync(2)). No file system at hand is that strict, so that a power cut does not show
 * all that is missing.
 */
export class SyncLedger {
  readonly violations: string[] = []
  /** How often each was synced. */
  readonly syncs = new Map<string, number>()
  answers = 0
  readonly #root: string
  readonly #known = new Set<string>()
  readonly #folders = new Set<string>()
  readonly #unsyncedBytes = new Map<string, number>()
  readonly #unsyncedNames = new Map<string, number>()
  /** The same, of the data folder and those above it, as absolute paths. */
  readonly #unsyncedRoots = new Map<string, number>()
  /** Where what was in a folder has gone. */
  readonly #movedTo = new Map<string, string>()
  /** Threads that have synced the log, and nothing of the database since. */
  readonly #moving = new Set<string>()
  #isBeginningUnsynced = false
  #line = 0

  /** @param root the data folder; paths are told from there. */
  constructor(root: string) {
    this.#root = root
  }

  /** Reads all that a process did. What it left unsynced stays so for the next one, for a kill keeps the page cache. */
  read(trace: string): void {
    const unfinished = new Map<string, { text: string; begun: number }>()
    this.#moving.clear()
    for (const line of trace.split('\n')) {
      this.#line += 1
      const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
      const begin = /^(.*) <unfinished \.\.\.>$/.exec(text)?.[1]
      if (begin !== undefined) {
        unfinished.set(thread, { text: begin, begun: this.#line })
        continue
      }
      const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1]
      const before = resumed === undefined ? undefined : unfinished.get(thread)
      const [, name, args = ''] = /^(\w+)\((.*)\) += \d+/.exec((before?.text ?? '') + (resumed ?? text)) ?? []
      if (name !== undefined) this.#note({ thread, name, args, begun: before?.begun ?? this.#line })
    }
  }

  /** Notes a folder that a process made, and did not live to sync. */
  leaveFolder(path: string): void {
    this.#folders.add(path)
    this.#create(path)
  }

  /** Notes that a process made the data folder, and did not live to sync its name. */
  leaveRoot(): void {
    this.#unsyncedRoots.set(this.#root, this.#line)
  }

  /** What is told from here on must be on the disk. */
  expectSynced(moment: string): void {
    for (const path of this.#unsyncedRoots.keys()) {
      this.#violate(`the name ${basename(path)}, above all that is stored, is not synced ${moment}`)
    }
    for (const path of this.#unsyncedBytes.keys()) {
      // What moves into the database is in the log, too.
      if (PROMISED.test(path) && path !== DATABASE) this.#violate(`bytes of ${path} are not synced ${moment}`)
    }
    for (const path of this.#unsyncedNames.keys()) {
      if (PROMISED.test(path) && !this.#isEmptyFolder(path)) this.#violate(`the name ${path} is not synced ${moment}`)
    }
  }

  #note(call: Call): void {
    const { name, args } = call
    const opened = /^\d+<(.*?)>(?:,|$)/.exec(args)?.[1] ?? ''
    const paths = [...args.matchAll(/"(.*?)"/g)].map(([, text = '']) => text)
    const [path, target] = paths.map((text) => this.#relative(text))
    if (/^p?writev?(64|2)?$|^ftruncate$/.test(name)) {
      const file = this.#relative(opened)
      if (opened.startsWith('TCP:')) this.#answer()
      else if (file !== undefined) this.#write(call, file)
    } else if (/^f(data)?sync$/.test(name)) {
      const file = this.#relative(opened)
      if (file !== undefined) this.#sync(call, file)
      for (const [root, line] of this.#unsyncedRoots) {
        if (dirname(root) === opened && line < call.begun) this.#unsyncedRoots.delete(root)
      }
    } else if (name.startsWith('rename') && path !== undefined && target !== undefined) this.#rename(path, target)
    else if (name.startsWith('unlink')) this.#known.delete(path ?? '')
    else if (name.startsWith('mkdir') && `${this.#root}/`.startsWith(`${paths[0]}/`)) {
      this.#unsyncedRoots.set(paths[0] ?? '', this.#line)
    } else if (path !== undefined && name.startsWith('mkdir')) this.leaveFolder(path)
    else if (path !== undefined && args.includes('O_CREAT')) this.#create(path)
  }

  #answer(): void {
    this.answers += 1
    this.expectSynced('before an answer')
  }

  #create(path: string): void {
    if (!this.#known.has(path)) this.#unsyncedNames.set(path, this.#line)
    this.#known.add(path)
  }

  /** Nobody was told of anything in it. */
  #isEmptyFolder(path: string): boolean {
    return (
      this.#folders.has(path) &&
      !this.#known.values().some((known) => !this.#folders.has(known) && known.startsWith(`${path}/`))
    )
  }

  #write({ thread, name, args }: Call, file: string): void {
    const offset = Number(/(\d+)$/.exec(args)?.[1])
    if (file === LOG && offset === 0) {
      if (this.#unsyncedBytes.has(DATABASE)) this.#violate('the log is begun anew before what it held is synced')
      this.#isBeginningUnsynced = name !== 'ftruncate'
    } else if (file === LOG && this.#isBeginningUnsynced) {
      this.#violate('the log goes on before its new beginning is synced')
    } else if (file === DATABASE && this.#known.has(LOG) && !this.#moving.has(thread)) {
      this.#violate('what moves into the database is not synced in the log')
    }
    this.#unsyncedBytes.set(file, this.#line)
  }

  #sync({ thread, begun }: Call, path: string): void {
    this.syncs.set(path, (this.syncs.get(path) ?? 0) + 1)
    if ((this.#unsyncedBytes.get(path) ?? 0) < begun) this.#unsyncedBytes.delete(path)
    if (path === LOG) {
      this.#isBeginningUnsynced = false
      this.#moving.add(thread)
    } else if (path === DATABASE) this.#moving.delete(thread)
    for (const [name, line] of this.#unsyncedNames) {
      if (dirname(name) !== (path === '' ? '.' : path) || line >= begun) continue
      this.#unsyncedNames.delete(name)
      const target = this.#movedTo.get(name)
      if (target !== undefined && this.#unsyncedNames.has(target)) {
        this.#violate(`${name} is gone from the disk before ${target} is there`)
      }
    }
  }

  #rename(from: string, to: string): void {
    if (this.#unsyncedBytes.has(from)) this.#violate(`${from} becomes ${to} before its bytes are synced`)
    this.#known.add(to)
    this.#unsyncedNames.set(to, this.#line)
    this.#unsyncedNames.set(from, this.#line)
    this.#movedTo.set(from, to)
  }

  #violate(what: string): void {
    const text = what.replaceAll(/[0-9a-f]{64}/g, (hex) => hex.slice(0, 8))
    if (!this.violations.includes(text)) this.violations.push(text)
  }

  /** From the data folder; undefined for what is not in it. */
  #relative(path: string): string | undefined {
    if (path === this.#root) return ''
    return path.startsWith(`${this.#root}/`) ? path.slice(this.#root.length + 1) : undefined
  }
}
