/** One disk of a chain: a descriptor and its extents, or one of the files of ESX 2 that have no descriptor. */
import { FormatError, PrimaError, type Random } from '@prima/base';
import type { VmdkDescriptor } from './descriptor.ts';
import { newCid, withCid, writeDescriptor } from './descriptor-write.ts';
import { type DiskFile, type DiskFolder, isWritableFile } from './disk-file.ts';
import { openCowdExtent, openSeSparseExtent } from './esx-extents.ts';
import type { ParentReference } from './find-parent.ts';
import { flatLayer } from './flat-layer.ts';
import { openHostedExtent } from './hosted-extent.ts';
import { sectorBytes } from './hosted-header.ts';
import { joinedLayer } from './joined-layer.ts';
import type { Layer, WritableLayer } from './layer.ts';
import { type LinkText, readLinkText } from './link-text.ts';
import { type OpenExtent, type OpenMapping, openExtent } from './open-extent.ts';
import { replaceEmbedded } from './rewrite-descriptor.ts';
import { sharingFolder } from './shared-files.ts';

export interface LinkOptions {
  folder: DiskFolder;
  writable: boolean;
  openMapping?: OpenMapping;
  note: (text: string) => void;
}

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
  const text = await readLinkText(path, options.folder);
  return text.descriptor === undefined
    ? openBare(text, options)
    : openDescribed(text.descriptor, text, { ...options, embedded: text.format !== 'descriptor' });
}

async function openDescribed(
  descriptor: VmdkDescriptor,
  { path, parent }: LinkText,
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
  const taken = new Set<string>();
  const context = { ...options, folder: sharingFolder(folder), path, createType: descriptor.createType };
  for (const extent of descriptor.extents) {
    // an embedded descriptor names its own file, which may have been renamed since
    const isSelf = embedded && descriptor.extents.length === 1;
    const open = await openExtent(isSelf ? { ...extent, file: path } : extent, context);
    opened.defer(() => open.layer.close());
    assertOwnFile(open, taken);
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
    parent,
    replaceCid: async (random) => {
      const changed = withCid(descriptor, newCid(random, descriptor.cid));
      if (self === undefined) await folder.replace(path, writeDescriptor(changed));
      else await replaceEmbedded(self, writeDescriptor(changed));
    },
  };
}

/** Two extents with tables in one file would write over each other's. */
function assertOwnFile({ format, file, path }: OpenExtent, taken: Set<string>): void {
  if (format === 'flat' || path === undefined || !file || !isWritableFile(file)) return;
  if (taken.has(path)) {
    throw new FormatError(`${path} is named for two extents of one disk; it can be read, not written`, {
      details: { path },
    });
  }
  taken.add(path);
}

async function openBare({ path, format, generation, parent }: LinkText, options: LinkOptions): Promise<Link> {
  const { folder, writable, note } = options;
  const file = await (writable ? folder.openForWriting(path) : folder.open(path));
  try {
    const layer = await openBareExtent(file, format, note);
    const kind = format === 'descriptor' ? 'none' : format;
    return {
      path,
      layer: joinedLayer([layer], path),
      extents: [{ layer, format: kind, file, path }],
      generation,
      parent,
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openBareExtent(
  file: DiskFile,
  format: LinkText['format'],
  note: (text: string) => void,
): Promise<Layer> {
  if (format === 'cowd') return openCowdExtent(file, { note });
  if (format === 'hosted') return openHostedExtent(file, { note });
  return format === 'seSparse' ? openSeSparseExtent(file, { note }) : openBareFlat(file);
}

function openBareFlat(file: DiskFile): Layer {
  if (file.size % sectorBytes === 0 && file.size > 0)
    return flatLayer(file, { offset: 0, length: file.size });
  throw new FormatError(
    `${file.name} has no descriptor, and with ${file.size} bytes it is no flat disk either (whole sectors of 512)`,
    { details: { path: file.name, offset: 0 } },
  );
}
