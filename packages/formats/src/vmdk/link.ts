/** One disk of a chain: a descriptor and its extents, or one of the files of ESX 2 that have no descriptor. */
import { FormatError, PrimaError, type Random } from '@prima/base';
import { cowdHeaderBytes, isCowd } from './cowd-header.ts';
import { descriptorLimitBytes, isDescriptor, parseDescriptor, type VmdkDescriptor } from './descriptor.ts';
import { newCid, withCid, writeDescriptor } from './descriptor-write.ts';
import { type DiskFile, type DiskFolder, isWritableFile } from './disk-file.ts';
import { openCowdExtent, openSeSparseExtent, readCowdHeader } from './esx-extents.ts';
import { flatLayer } from './flat-layer.ts';
import { openHostedExtent, readEmbeddedDescriptor } from './hosted-extent.ts';
import { isHostedHeader, sectorBytes } from './hosted-header.ts';
import { joinedLayer } from './joined-layer.ts';
import type { WritableLayer } from './layer.ts';
import { type ExtentFormat, type OpenExtent, type OpenMapping, openExtent } from './open-extent.ts';
import { readUpTo } from './read-file.ts';
import { isSeSparse } from './se-sparse.ts';

export interface LinkOptions {
  folder: DiskFolder;
  writable: boolean;
  openMapping?: OpenMapping;
  note: (text: string) => void;
}

/** Of whom a disk is the child. */
export type ParentReference =
  | { by: 'cid'; cid: number; hint: string }
  | { by: 'generation'; generation: number; hint: string };

export interface Link {
  path: string;
  layer: WritableLayer;
  extents: readonly OpenExtent[];
  /** Absent for files without one. */
  descriptor?: VmdkDescriptor;
  /** Of a redo log without descriptor. */
  generation?: number;
  parent?: ParentReference;
  /** Replaces the CID, durably: to be called before the first change. Absent without a descriptor. */
  replaceCid?: (random: Random) => Promise<void>;
}

/** @param path as the folder resolved it */
export async function openLink(path: string, options: LinkOptions): Promise<Link> {
  const { folder } = options;
  const file = await folder.open(path);
  let kind: FileKind;
  let text: Buffer | undefined;
  try {
    kind = kindOf(path, await readUpTo(file, 0, cowdHeaderBytes));
    if (kind === 'descriptor') text = await readDescriptorFile(file);
    else if (kind === 'hosted') text = await readEmbeddedDescriptor(file);
  } finally {
    await file.close();
  }
  if (text !== undefined)
    return openDescribed(parseDescriptor(text, path), path, { ...options, embedded: kind !== 'descriptor' });
  return openBare(path, kind as ExtentFormat, options);
}

type FileKind = ExtentFormat | 'descriptor';

/** Named so, a file is flat whatever its guest has written to its beginning. */
const flatName = /(?:\.dsk|-flat\.vmdk)$/i;

function kindOf(path: string, bytes: Buffer): FileKind {
  if (flatName.test(path)) return 'flat';
  if (isDescriptor(bytes)) return 'descriptor';
  if (isHostedHeader(bytes)) return 'hosted';
  if (isCowd(bytes)) return 'cowd';
  return isSeSparse(bytes) ? 'seSparse' : 'flat';
}

async function readDescriptorFile(file: DiskFile): Promise<Buffer> {
  if (file.size > descriptorLimitBytes) {
    throw new FormatError(
      `${file.name} begins as a descriptor but has ${file.size} bytes, where ${descriptorLimitBytes} are the most`,
      { details: { path: file.name, offset: descriptorLimitBytes } },
    );
  }
  return readUpTo(file, 0, file.size);
}

async function openDescribed(
  descriptor: VmdkDescriptor,
  path: string,
  options: LinkOptions & { embedded: boolean },
): Promise<Link> {
  const { folder, embedded, note } = options;
  if (descriptor.isNativeSnapshot) {
    throw new PrimaError(
      'unsupported',
      `${path} is a snapshot that its storage array made (isNativeSnapshot): its files do not hold the difference; read ` +
        'it through the host, or consolidate it first',
    );
  }
  if (descriptor.extents.length === 0) {
    throw new FormatError(`${path}: its descriptor lists no extents`, { details: { path, offset: 0 } });
  }
  if (descriptor.version === 3 && descriptor.changeTrackPath !== undefined && options.writable) {
    note(
      `${path}: change tracking is on; what is written now is not in ${descriptor.changeTrackPath}: reset it`,
    );
  }
  await using opened = new AsyncDisposableStack();
  const extents: OpenExtent[] = [];
  const context = { ...options, path, createType: descriptor.createType };
  for (const extent of descriptor.extents) {
    // an embedded descriptor names its own file, which may have been renamed since
    const isSelf = embedded && descriptor.extents.length === 1;
    const open = await openExtent(isSelf ? { ...extent, file: path } : extent, context);
    opened.defer(() => open.layer.close());
    extents.push(open);
  }
  const layer = joinedLayer(
    extents.map((extent) => extent.layer),
    path,
  );
  opened.move();
  const self = embedded ? extents[0]?.file : undefined;
  return {
    path,
    layer,
    extents,
    descriptor,
    parent: parentOf(descriptor, path),
    replaceCid: async (random) => {
      const changed = withCid(descriptor, newCid(random, descriptor.cid));
      if (self === undefined) await folder.replace(path, writeDescriptor(changed));
      else await replaceEmbedded(self, writeDescriptor(changed));
    },
  };
}

function parentOf(descriptor: VmdkDescriptor, path: string): ParentReference | undefined {
  const { parentCid, parentFileNameHint } = descriptor;
  if (parentCid === undefined) return undefined;
  if (parentFileNameHint === undefined) {
    throw new FormatError(`${path} has a parent (parentCID) but does not name it (parentFileNameHint)`, {
      details: { path, offset: 0 },
    });
  }
  return { by: 'cid', cid: parentCid, hint: parentFileNameHint };
}

/** Only the sectors that change, so that a crash leaves the old text or the new one: a CID is in one sector. */
async function replaceEmbedded(file: DiskFile, text: Buffer): Promise<void> {
  const old = await readEmbeddedDescriptor(file);
  if (old === undefined || !isWritableFile(file) || text.length > old.length) {
    throw new PrimaError(
      'no-space',
      `${file.name} has no room for its changed descriptor of ${text.length} bytes`,
    );
  }
  const padded = Buffer.concat([text, Buffer.alloc(old.length - text.length)]);
  const head = await readUpTo(file, 0, sectorBytes);
  const start = Number(head.readBigUInt64LE(28)) * sectorBytes;
  for (let at = 0; at < padded.length; at += sectorBytes) {
    const sector = padded.subarray(at, at + sectorBytes);
    if (!sector.equals(old.subarray(at, at + sectorBytes))) await file.write(start + at, sector);
  }
  await file.flush();
}

async function openBare(path: string, format: ExtentFormat, options: LinkOptions): Promise<Link> {
  const { folder, writable, note } = options;
  const file = await (writable ? folder.openForWriting(path) : folder.open(path));
  try {
    if (format === 'cowd') {
      const header = await readCowdHeader(file);
      const layer = await openCowdExtent(file, { note });
      const { parent, generation } = header;
      const reference: ParentReference | undefined = parent && {
        by: 'generation',
        generation: parent.generation,
        hint: parent.fileName,
      };
      return { ...bareLink(path, { layer, format, file, path }), generation, parent: reference };
    }
    if (format === 'hosted') {
      return bareLink(path, { layer: await openHostedExtent(file, { note }), format, file, path });
    }
    if (format === 'seSparse') {
      return bareLink(path, { layer: await openSeSparseExtent(file, { note }), format, file, path });
    }
    return bareLink(path, { layer: openBareFlat(file), format: 'flat', file, path });
  } catch (error) {
    await file.close();
    throw error;
  }
}

function openBareFlat(file: DiskFile) {
  if (file.size % sectorBytes === 0 && file.size > 0)
    return flatLayer(file, { offset: 0, length: file.size });
  throw new FormatError(
    `${file.name} has no descriptor, and with ${file.size} bytes it is no flat disk either (whole sectors of 512)`,
    { details: { path: file.name, offset: 0 } },
  );
}

function bareLink(path: string, extent: OpenExtent): Link {
  return { path, layer: joinedLayer([extent.layer], path), extents: [extent] };
}
