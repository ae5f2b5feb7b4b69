/**
 * What a datastore's files are for: which machine uses which, what is missing, and what nobody refers to. Only looks; what is taken for
 * an orphan is said with the reason, and with a doubt where something that may name it could not be read.
 */
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { toPrimaError } from '@prima/base';
import { type FoundMachine, findMachines, isConfiguration, memoryBeside } from './machines.ts';
import { type FileRole, readReferences } from './references.ts';
import { type Scan, scanFolders, type ScannedFile, type ScannedFolder, type Unreadable } from './scan.ts';

export interface UsedFile extends ScannedFile {
  role: FileRole;
}

export interface UsedDisk {
  slot: string;
  path: string;
  /** Absent where its first file cannot be read. */
  format?: string;
  /** Bytes that the guest sees, where that is known without reading more than headers. */
  capacity?: number;
  /** The whole chain: the disk's own file first, then what it needs. */
  files: UsedFile[];
}

export interface DatastoreMachine {
  name: string;
  configuration: string;
  disks: UsedDisk[];
  /** Of all its files, each once; files that several machines share count for each. */
  logicalBytes: number;
  allocatedBytes: number;
}

export interface Orphan extends ScannedFile {
  kind: OrphanKind;
  /** Why it is taken for one. */
  why: string;
  /** Why it may be none after all. */
  doubt?: string;
}

export type OrphanKind = 'disk' | 'extent' | 'redo log' | 'redo record' | 'snapshot';

export interface MissingFile {
  path: string;
  neededBy: string;
}

export interface DatastoreReport {
  folders: ScannedFolder[];
  files: number;
  logicalBytes: number;
  allocatedBytes: number;
  machines: DatastoreMachine[];
  orphans: Orphan[];
  missing: MissingFile[];
  unreadable: Unreadable[];
}

export interface DatastoreOptions {
  /** Configurations elsewhere that may name files of the datastore. */
  configurations?: readonly string[];
  /** Places where there may be more of those, which could not be looked at. */
  unreadable?: readonly Unreadable[];
  signal?: AbortSignal;
}

/** Raises only what is wrong with the folders themselves. */
export async function lookAtDatastore(
  folders: readonly string[],
  { configurations = [], unreadable = [], signal }: DatastoreOptions = {},
): Promise<DatastoreReport> {
  const scan = await scanFolders(folders, signal);
  const own = [...scan.files.keys()].filter(isConfiguration);
  const found = await findMachines(new Set([...own, ...configurations]));
  const uses = new Uses(scan);
  const machines: DatastoreMachine[] = [];
  for (const machine of found.machines) machines.push(await uses.machine(machine));
  await uses.readRest();
  const unread = [...scan.unreadable, ...unreadable, ...found.unreadable, ...uses.unreadable];
  const files = [...scan.files.values()];
  return {
    folders: scan.folders,
    files: files.length,
    logicalBytes: sum(files, ({ size }) => size),
    allocatedBytes: sum(files, ({ allocated }) => allocated),
    machines: machines.sort((a, b) => (a.configuration < b.configuration ? -1 : 1)),
    orphans: uses.orphans({ machines: found.machines.length, unread }),
    missing: uses.missing,
    unreadable: unread,
  };
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}

const deepestChain = 256;

/** They name nothing else. */
const leaves: ReadonlySet<FileRole> = new Set(['extent', 'data file', 'redo record', 'change tracking']);

class Uses {
  readonly missing: MissingFile[] = [];
  readonly unreadable: Unreadable[] = [];
  readonly #scan: Scan;
  readonly #used = new Set<string>();
  /** Of what no machine uses: whose it is. */
  readonly #owners = new Map<string, string>();

  constructor(scan: Scan) {
    this.#scan = scan;
  }

  async machine({ name, configuration, named }: FoundMachine): Promise<DatastoreMachine> {
    const disks: UsedDisk[] = [];
    for (const { slot, name: written, kind } of named) {
      const path = this.#place([written], configuration);
      if (kind === 'disk') disks.push(await this.#disk(slot, path, `${name} (${slot})`));
      else {
        this.#used.add(path);
        this.#used.add(memoryBeside(path));
      }
    }
    const files = new Map(disks.flatMap((disk) => disk.files.map((file) => [file.path, file])));
    return {
      name,
      configuration,
      disks,
      logicalBytes: sum(files.values(), ({ size }) => size),
      allocatedBytes: sum(files.values(), ({ allocated }) => allocated),
    };
  }

  /** Where a name leads: beside whoever names it, or in a folder of the datastore where it is written from another root. */
  #place(names: readonly string[], asker: string): string {
    const beside = names.map((name) => resolve(dirname(asker), name));
    const moved = names.filter(isAbsolute).flatMap((name) => {
      const parts = name.split('/').filter((part) => part !== '');
      return this.#scan.folders.flatMap(({ path }) => parts.map((_, at) => join(path, ...parts.slice(at))));
    });
    const ends = names.map((name) => join(dirname(asker), basename(name.replaceAll('\\', '/'))));
    const all = [...beside, ...moved, ...ends];
    return all.find((path) => this.#scan.files.has(path)) ?? all[0] ?? asker;
  }

  async #disk(slot: string, path: string, neededBy: string): Promise<UsedDisk> {
    const disk: UsedDisk = { slot, path, files: [] };
    const queue: { path: string; role: FileRole; neededBy: string }[] = [{ path, role: 'disk', neededBy }];
    const seen = new Set<string>();
    for (let next = queue.shift(); next && seen.size < deepestChain; next = queue.shift()) {
      const { path: at, role, neededBy: asker } = next;
      if (seen.has(at)) continue;
      seen.add(at);
      const file = this.#scan.files.get(at);
      if (!file) {
        if (this.#isInside(at)) this.missing.push({ path: at, neededBy: asker });
        continue;
      }
      this.#used.add(at);
      disk.files.push({ ...file, role });
      if (leaves.has(role)) continue;
      const facts = await this.#facts(at);
      if (!facts) continue;
      if (role === 'disk') Object.assign(disk, { format: facts.format }, capacityOf(facts));
      for (const { role: below, names } of facts.references)
        queue.push({ path: this.#place(names, at), role: below, neededBy: at });
    }
    return disk;
  }

  /** What lies elsewhere is another datastore's business. */
  #isInside(path: string): boolean {
    return this.#scan.folders.some((folder) => path.startsWith(`${folder.path}/`));
  }

  async #facts(path: string): Promise<Awaited<ReturnType<typeof readReferences>> | undefined> {
    try {
      return await readReferences(path);
    } catch (error) {
      if (!this.unreadable.some((known) => known.path === path))
        this.unreadable.push({ path, why: toPrimaError(error, `reading ${path}`).message });
      return undefined;
    }
  }

  orphans(of: { machines: number; unread: readonly Unreadable[] }): Orphan[] {
    const orphans: Orphan[] = [];
    for (const file of this.#scan.files.values()) {
      const kind = this.#used.has(file.path) ? undefined : kindOf(file.path);
      if (kind === undefined) continue;
      const owner = this.#owners.get(file.path);
      const why =
        owner === undefined
          ? `none of the ${of.machines} machines that were found refers to it, nor does a disk of theirs`
          : `it belongs to ${owner}, to which no machine refers`;
      const doubt = doubtOf(file.path, of.unread);
      orphans.push({ ...file, kind, why, ...(doubt !== undefined && { doubt }) });
    }
    return orphans;
  }

  /** What is not used by a machine: what disks that are orphans themselves need. Before `orphans`. */
  async readRest(): Promise<void> {
    for (const { path } of this.#scan.files.values()) {
      if (this.#used.has(path) || !['disk', 'redo log'].includes(kindOf(path) ?? '')) continue;
      const facts = await this.#facts(path);
      for (const { names } of facts?.references ?? []) {
        const below = this.#place(names, path);
        if (below !== path && !this.#owners.has(below)) this.#owners.set(below, path);
      }
    }
  }
}

function capacityOf({ capacity }: { capacity?: number }): { capacity?: number } {
  return capacity === undefined ? {} : { capacity };
}

const patterns: readonly [RegExp, OrphanKind][] = [
  [/\.redo\.json$/i, 'redo record'],
  [/\.REDO(?:\.REDO)*(?:_[A-Za-z0-9]+)?(?:-delta\.vmdk)?$/i, 'redo log'],
  [/\.(?:vmsn|vmss|vmem)$/i, 'snapshot'],
  [/-(?:flat|delta|sesparse|ctk|rdm|rdmp|[sf]\d{3})\.vmdk$/i, 'extent'],
  [/\.(?:vmdk|dsk|qcow2?|raw|img|vdi|vhdx?|vpc)$/i, 'disk'],
];

/** What Prima makes beside machines and takes away itself: of a run, of a machine in the making. */
const ours = /\/(?:\.run|\.prima-(?:staged|gone)-[^/]*)\//;

/** By its name; undefined for what is no part of a disk, or Prima's own business. */
export function kindOf(path: string): OrphanKind | undefined {
  if (ours.test(path)) return undefined;
  return patterns.find(([pattern]) => pattern.test(basename(path)))?.[1];
}

/** What could not be read in the file's folder, or above it, may name it. */
function doubtOf(path: string, unread: readonly Unreadable[]): string | undefined {
  const folder = dirname(path);
  const near = unread.find((one) => one.path === path || `${folder}/`.startsWith(`${dirname(one.path)}/`));
  if (near) return `${near.path} could not be read and may name it: ${near.why}`;
  const [other] = unread;
  return other && `${other.path} could not be read: ${other.why}`;
}
