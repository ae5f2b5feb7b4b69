/** What kind of file system a folder is on, as far as its promises differ from a local disk's. */
import { readFile, statfs } from 'node:fs/promises';

/** Magic numbers of statfs(2), from linux/magic.h and the file systems' own sources. */
const kinds: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb3'],
  [0x65735546, 'fuse'],
  [0x01021997, '9p'],
  [0x5346414f, 'afs'],
]);

/** Those whose answers come from this machine's memory or disks: ext2 to ext4, XFS, Btrfs, ZFS, F2FS, tmpfs, overlayfs. */
const near: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0xf2f52010, 0x01021994, 0x794c7630,
]);

/** The attribute caches' longest time, seconds, where the mount says nothing else (nfs(5), mount.cifs(8)). */
const defaultCacheSeconds: Partial<Record<string, number>> = {
  nfs: 60,
  smb: 60,
  cifs: 60,
  smb3: 60,
  fuse: 60,
  '9p': 60,
  afs: 60,
};
/** On top of the cache's time, for clocks that differ and answers under way. */
const marginMs = 5000;

/** Where the facts come from; tests bring their own. */
export interface FileSystemProbe {
  /** statfs(2) f_type of a path. */
  type(path: string): Promise<number>;
  /** The content of /proc/self/mountinfo. */
  mounts(): Promise<string>;
}

const systemProbe: FileSystemProbe = {
  type: async (path) => (await statfs(path)).type >>> 0,
  mounts: () => readFile('/proc/self/mountinfo', 'utf8'),
};

/** `nfs`, `cifs` … for file systems that other computers write to as well; undefined for all others. */
export async function networkKind(folder: string, probe = systemProbe): Promise<string | undefined> {
  return kinds.get(await probe.type(folder));
}

/** Whether the folder is surely on a disk of this machine, or in its memory. */
export async function isNear(folder: string, probe = systemProbe): Promise<boolean> {
  return near.has(await probe.type(folder));
}

/**
 * How long this computer may go on showing an old list of the folder's names, milliseconds: the longest time of the
 * attribute cache for folders, and a margin. 0 where other computers' changes are seen at once.
 */
export async function settleMsOf(folder: string, probe = systemProbe): Promise<number> {
  const kind = await networkKind(folder, probe);
  if (kind === undefined) return 0;
  const options = mountOptions(await probe.mounts(), folder);
  return cacheSeconds(kind, options) * 1000 + marginMs;
}

/** The options of the mount that `folder` is on: the longest mount point above it, the last one of the same. */
export function mountOptions(mountinfo: string, folder: string): ReadonlyMap<string, string> {
  let best = { point: '', options: '' };
  for (const line of mountinfo.split('\n')) {
    // proc(5): id parent device root point options [tags…] - type source super-options
    const [before = '', after = ''] = line.split(' - ');
    const point = unescape(before.split(' ')[4] ?? '');
    const inside = point === '/' || folder === point || folder.startsWith(`${point}/`);
    if (point === '' || !inside || point.length < best.point.length) continue;
    best = { point, options: after.split(' ')[2] ?? '' };
  }
  return new Map(
    best.options.split(',').map((option) => {
      const [name = '', value = ''] = option.split('=');
      return [name, value];
    }),
  );
}

function cacheSeconds(kind: string, options: ReadonlyMap<string, string>): number {
  if (options.has('noac')) return 0;
  const given = [options.get('acdirmax'), options.get('actimeo')].find((text) => text !== undefined);
  const seconds = Number(given ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : (defaultCacheSeconds[kind] ?? 60);
}

/** A space in a mount point is `\040`. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** For people: what is known of how durable files in the folder are. */
export async function durabilityOfFolder(folder: string): Promise<string> {
  const kind = await networkKind(folder);
  const synced = 'files and the names of files are synced before they count';
  if (kind === undefined)
    return `${synced}; a disk with a write cache that lies about it can still lose them`;
  if (kind === 'nfs') return `${synced}; this is NFS: the server must export with "sync", not "async"`;
  return `${synced}, as far as the file system (${kind}) and the server behind it do what they are told`;
}
