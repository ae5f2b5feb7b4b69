/**
 * A VMDK of any kind, with its parents, as a block device.
 *
 * A parent is named by a hint (`parentFileNameHint`, or in a redo log without descriptor its `parentFileName`), which
 * is looked for beside the child first: as a relative path, then its last part; only then where an absolute one says,
 * if that may be opened. It has to have the CID that the child remembers: a parent that was written since makes the
 * child worthless. Redo logs of ESX 2 know a generation instead, which their tools did not keep well: another one is
 * noted, not refused.
 */
import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PrimaError, type Random, systemRandom, throwIfAborted, toPrimaError } from '@prima/base';
import type { BlockDevice, WritableDevice } from '@prima/block';
import { chainDevice, writableChain } from './chain-device.ts';
import type { CreateType } from './create-types.ts';
import type { ExtentDescription, VmdkDescriptor } from './descriptor.ts';
import { formatCid } from './descriptor-write.ts';
import type { DiskFolder } from './disk-file.ts';
import { chainLimit, findParent } from './find-parent.ts';
import { type DiskGeometry, geometryFrom, geometryOf } from './geometry.ts';
import { sectorBytes } from './hosted-header.ts';
import type { Layer, LayerRun } from './layer.ts';
import { type Link, openLink } from './link.ts';
import { localFolder } from './local-folder.ts';
import type { ExtentFormat, OpenMapping } from './open-extent.ts';

export interface OpenVmdkOptions {
  /** Default: the file system, and in it only what lies below `roots`. */
  folder?: DiskFolder;
  /** Folders in which extents and parents may be. Default: the folder of the disk. */
  roots?: readonly string[];
  /** Default false. Parents are never written. */
  writable?: boolean;
  /** False opens the disk without its parents: what it does not hold itself reads as zeros. Default true. */
  parents?: boolean;
  /** A parent whose CID is not the one that the child remembers. Default `refuse`. */
  onParentMismatch?: 'refuse' | 'note';
  /** Without it, a raw device mapping raises `unsupported`. */
  openMapping?: OpenMapping;
  /** False: writing leaves the CID as it is, because who writes takes care of the children. Default true. */
  renewCid?: boolean;
  /** For new CIDs. Default: the operating system's. */
  random?: Random;
  signal?: AbortSignal;
}

export interface VmdkExtentInfo extends ExtentDescription {
  format: ExtentFormat;
  path?: string;
  /** Size of the file. */
  fileBytes?: number;
}

export interface VmdkLinkInfo {
  path: string;
  /** Undefined for files without descriptor, as all that is read from one. */
  createType?: CreateType;
  descriptor?: VmdkDescriptor;
  cid?: number;
  /** Of a redo log without descriptor. */
  generation?: number;
  /** Bytes. */
  capacity: number;
  extents: readonly VmdkExtentInfo[];
}

export interface VmdkInfo extends VmdkLinkInfo {
  /** `lsilogic`, `ide` …; from a parent where the disk itself does not say. */
  adapterType?: string;
  /** Follows from the size where nothing says it. */
  geometry: DiskGeometry;
  /** Its own entries, and those of its parents that it does not have; keys in lower case without `ddb.`. */
  ddb: ReadonlyMap<string, string>;
  /** Nearest first. */
  parents: readonly VmdkLinkInfo[];
  /** What was odd, for people; grows while the disk is read. */
  notes: readonly string[];
}

export interface OpenVmdk<D extends BlockDevice = BlockDevice> {
  /** Closing it closes every file. */
  device: D;
  info: VmdkInfo;
  /** What the disk itself, without its parents, holds: see `Layer.runs`. */
  ownRuns(offset: number, length: number, signal?: AbortSignal): Promise<LayerRun[]>;
}

/**
 * Raises `format` with the offset, `not-found` (an extent, a parent), `refused` (outside of the roots, a parent that
 * was changed, a chain that is a circle), `unsupported`, `state` (seSparse with a pending journal), `permission`.
 */
export async function openVmdk(
  path: string,
  options: OpenVmdkOptions & { writable: true },
): Promise<OpenVmdk<WritableDevice>>;
export async function openVmdk(path: string, options?: OpenVmdkOptions): Promise<OpenVmdk>;
export async function openVmdk(path: string, options: OpenVmdkOptions = {}): Promise<OpenVmdk> {
  const { writable = false, renewCid = true, random = systemRandom, signal } = options;
  throwIfAborted(signal, `opening ${path}`);
  const notes: string[] = [];
  const note = (text: string) => void notes.push(text);
  const { folder, start } = await findDisk(path, options);
  const links = await openChain(start, { ...options, folder, note });
  const [top, ...rest] = links;
  const layers = rest.map((link): Layer => link.layer);
  const chain = {
    name: path,
    beforeFirstWrite: async () => (renewCid ? top.replaceCid?.(random) : undefined),
  };
  const device = writable
    ? writableChain([top.layer, ...layers], chain)
    : chainDevice([top.layer, ...layers], chain);
  return {
    device,
    info: infoOf(links, notes),
    ownRuns: (offset, length, runSignal) => top.layer.runs({ offset, length }, runSignal),
  };
}

async function findDisk(
  path: string,
  options: OpenVmdkOptions,
): Promise<{ folder: DiskFolder; start: string }> {
  if (options.folder) return { folder: options.folder, start: await options.folder.resolve(path, path) };
  const real = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `opening ${path}`);
  });
  return { folder: localFolder([...(options.roots ?? []), dirname(real)]), start: real };
}

type Links = [Link, ...Link[]];

interface ChainContext extends OpenVmdkOptions {
  folder: DiskFolder;
  note: (text: string) => void;
}

async function openChain(start: string, context: ChainContext): Promise<Links> {
  const { folder, note, openMapping, signal } = context;
  await using opened = new AsyncDisposableStack();
  const open = async (path: string, writable: boolean) => {
    const link = await openLink(path, { folder, writable, openMapping, note });
    opened.defer(() => link.layer.close());
    return link;
  };
  const links: Links = [await open(start, context.writable ?? false)];
  const seen = new Set([start]);
  for (let child = links[0]; child.parent && (context.parents ?? true); ) {
    throwIfAborted(signal, `opening ${start}`);
    const path = await findParent(child.path, child.parent, folder);
    if (seen.has(path) || links.length > chainLimit) {
      const what = seen.has(path)
        ? 'its chain of parents is a circle'
        : `it has more than ${chainLimit} parents`;
      throw new PrimaError('refused', `${start}: ${what} (${path})`, {
        details: { path: start, parent: path },
      });
    }
    seen.add(path);
    const parent = await open(path, false);
    links.push(parent);
    checkParent(child, parent, context);
    child = parent;
  }
  opened.move();
  return links;
}

function checkParent(child: Link, parent: Link, { onParentMismatch = 'refuse', note }: ChainContext): void {
  const { parent: wanted } = child;
  if (wanted?.by === 'generation') {
    const { generation } = parent;
    if (generation === undefined || generation === wanted.generation) return;
    note(
      `${child.path} was made over generation ${wanted.generation} of ${parent.path}, which has ${generation} now`,
    );
  } else if (wanted && parent.descriptor?.cid !== wanted.cid) {
    const found = parent.descriptor ? `the CID ${formatCid(parent.descriptor.cid)}` : 'no CID';
    const text =
      `${child.path} was made when its parent ${parent.path} had the CID ${formatCid(wanted.cid)}; it has ${found} ` +
      'now, so it was written since, and both together are not what the guest saw';
    if (onParentMismatch === 'note') note(text);
    else throw new PrimaError('refused', text, { details: { path: child.path, parent: parent.path } });
  }
}

function infoOf(links: Links, notes: readonly string[]): VmdkInfo {
  const [top, ...parents] = links;
  const ddb = new Map<string, string>();
  for (const { descriptor } of links.toReversed())
    for (const [key, value] of descriptor?.ddb ?? []) ddb.set(key, value);
  const own = linkInfo(top);
  const adapterType = ddb.get('adaptertype');
  return {
    ...own,
    adapterType,
    geometry: geometryFrom(ddb) ?? geometryOf(own.capacity, adapterType ?? 'lsilogic'),
    ddb,
    parents: parents.map(linkInfo),
    notes,
  };
}

function linkInfo({ path, descriptor, generation, extents, layer }: Link): VmdkLinkInfo {
  return {
    path,
    createType: descriptor?.createType,
    descriptor,
    cid: descriptor?.cid,
    generation,
    capacity: layer.size,
    extents: extents.map(({ format, file, path: filePath, layer: { size } }, index) => ({
      ...(descriptor?.extents[index] ?? {
        access: 'RW',
        sectors: size / sectorBytes,
        type: bareTypes[format],
        offset: 0,
      }),
      format,
      path: filePath,
      fileBytes: file?.size,
    })),
  };
}

const bareTypes = {
  flat: 'FLAT',
  hosted: 'SPARSE',
  cowd: 'VMFSSPARSE',
  seSparse: 'SESPARSE',
  mapping: 'VMFSRDM',
  none: 'ZERO',
} as const satisfies Record<ExtentFormat, ExtentDescription['type']>;
