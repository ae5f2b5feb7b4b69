/**
 * The descriptor of a virtual disk: a small text file, or text inside a hosted sparse file, NUL-padded
 * (VMware Virtual Disk Format 5.0, "The Descriptor File").
 *
 *   # Disk DescriptorFile
 *   version=1                              1, 2, 3 (3: change tracking is on; read as 1)
 *   encoding="UTF-8"                       of this text; absent in old files
 *   CID=1a2b3c4d                           changes with the first write after every opening
 *   parentCID=ffffffff                     the parent's CID when the child was made; ffffffff: no parent
 *   createType="twoGbMaxExtentSparse"
 *   parentFileNameHint="base.vmdk"
 *
 *   # Extent description
 *   RW 4192256 SPARSE "disk-s001.vmdk"     ACCESS SECTORS TYPE ["file" [offset [partitionUUID [deviceId]]]]
 *
 *   # The Disk Data Base
 *   ddb.adapterType = "lsilogic"
 *
 * Keys and words are found in any case. Every line stays as it was, so that writing gives back what was read.
 */
import { FormatError, PrimaError } from '@prima/base';
import { canonicalCreateType, type CreateType } from './create-types.ts';
import { type Decode, decoderOf } from './descriptor-text.ts';

export const extentAccesses = ['RW', 'RDONLY', 'NOACCESS'] as const;
export type ExtentAccess = (typeof extentAccesses)[number];

export const extentTypes = [
  'FLAT',
  'SPARSE',
  'ZERO',
  'VMFS',
  'VMFSSPARSE',
  'SESPARSE',
  'VMFSRDM',
  'VMFSRAW',
] as const;
export type ExtentType = (typeof extentTypes)[number];

export interface ExtentDescription {
  access: ExtentAccess;
  /** The extent's part of the disk, sectors of 512 bytes. */
  sectors: number;
  type: ExtentType;
  /** As written, relative to the descriptor's folder or absolute; absent for ZERO. */
  file?: string;
  /** Where the extent begins in its file, sectors. */
  offset: number;
  partitionUuid?: string;
  deviceId?: string;
}

/** A line as it is in the file (a character per byte), and what it says. */
export interface DescriptorLine {
  raw: string;
  /** `\n`, `\r\n`, or nothing at the end of the file. */
  end: string;
  key?: string;
  value?: string;
  extent?: ExtentDescription;
}

export interface VmdkDescriptor {
  version: number;
  encoding?: string;
  cid: number;
  /** Undefined: no parent. */
  parentCid?: number;
  createType: CreateType;
  parentFileNameHint?: string;
  /** True: a snapshot by the array, which cannot be read as a delta. */
  isNativeSnapshot: boolean;
  changeTrackPath?: string;
  extents: readonly ExtentDescription[];
  /** Without `ddb.`, in lower case: `adaptertype`, `geometry.heads`. */
  ddb: ReadonlyMap<string, string>;
  lines: readonly DescriptorLine[];
}

/** 62 TiB, the largest disk of ESX, is 31,761 extents of 2 GiB − 1 MiB: two megabytes of text. */
export const descriptorLimitBytes = 4 * 1024 * 1024;
const lineLimit = 8192;
const extentLimit = 65_536;
/** The CID of a descriptor that names none; VMware's value for "not set". */
export const cidUnset = 0xfffffffe;
/** `parentCID` of a disk without parent. */
export const cidNoParent = 0xffffffff;
/** 4 PiB, in sectors: every offset in bytes stays a safe number. */
export const capacityLimitSectors = 2 ** 43;

/** True when a file's first bytes are those of a descriptor; there are writers that put a space into the word. */
export function isDescriptor(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('latin1');
  return /^(?:\xef\xbb\xbf)?\s*#\s*disk descriptor ?file/i.test(start);
}

/**
 * @param bytes the file, or the sectors set aside for it; what follows a NUL is no part of it
 * @param name for messages. Raises `format` with the offset, `unsupported` for a newer version.
 */
export function parseDescriptor(bytes: Uint8Array, name = 'VMDK descriptor'): VmdkDescriptor {
  const nul = bytes.indexOf(0);
  const length = nul === -1 ? bytes.length : nul;
  if (length > descriptorLimitBytes) {
    throw broken(name, `it has ${length} bytes, a descriptor at most ${descriptorLimitBytes}`, 0);
  }
  if (!isDescriptor(bytes)) throw broken(name, 'the line "# Disk DescriptorFile" is missing', 0);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, length).toString('latin1');
  return interpret(splitLines(text, name), name);
}

interface PlacedLine extends DescriptorLine {
  at: number;
}

function splitLines(text: string, name: string): PlacedLine[] {
  const lines: PlacedLine[] = [];
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const stop = newline === -1 ? text.length : newline;
    const carriage = stop > at && text[stop - 1] === '\r' ? 1 : 0;
    const raw = text.slice(at, stop - carriage);
    if (raw.length > lineLimit) throw broken(name, `a line has ${raw.length} characters`, at);
    const next = newline === -1 ? text.length : stop + 1;
    lines.push({ raw, end: text.slice(stop - carriage, next), at });
    at = next;
  }
  return lines;
}

function interpret(placed: readonly PlacedLine[], name: string): VmdkDescriptor {
  const entries = new Map<string, { value: string; at: number }>();
  const encoding = findEncoding(placed);
  const decode = decoderOf(encoding);
  const extents: ExtentDescription[] = [];
  const lines = placed.map(({ at, ...line }): DescriptorLine => {
    const extent = parseExtent(line.raw, decode, { name, at });
    if (extent) {
      extents.push(extent);
      if (extents.length > extentLimit) throw broken(name, `more than ${extentLimit} extents`, at);
      return { ...line, extent };
    }
    const entry = parseEntry(line.raw, decode);
    if (!entry) return line;
    const key = entry.key.toLowerCase();
    if (!entries.has(key)) entries.set(key, { value: entry.value, at });
    return { ...line, ...entry };
  });
  const sectors = extents.reduce((sum, extent) => sum + extent.sectors, 0);
  if (sectors > capacityLimitSectors) throw broken(name, `its extents have ${sectors} sectors`, 0);
  return { ...headerOf(entries, name), encoding, extents, lines };
}

function findEncoding(lines: readonly DescriptorLine[]): string | undefined {
  for (const { raw } of lines) {
    const entry = /^\s*encoding/i.test(raw) ? parseEntry(raw, (text) => text) : undefined;
    if (entry?.key.toLowerCase() === 'encoding') return entry.value;
  }
  return undefined;
}

type Entries = ReadonlyMap<string, { value: string; at: number }>;

function headerOf(entries: Entries, name: string): Omit<VmdkDescriptor, 'extents' | 'lines'> {
  const text = (key: string) => entries.get(key)?.value;
  const createType = text('createtype');
  const canonical = canonicalCreateType(createType ?? '');
  if (createType === undefined) throw broken(name, 'createType is missing', 0);
  if (canonical === undefined) {
    throw broken(name, `its createType "${createType}" is not known`, entries.get('createtype')?.at ?? 0);
  }
  const parentCid = cidOf(entries, 'parentcid', name) ?? cidNoParent;
  const ddb = [...entries].filter(([key]) => key.startsWith('ddb.'));
  return {
    version: versionOf(entries, name),
    cid: cidOf(entries, 'cid', name) ?? cidUnset,
    parentCid: parentCid === cidNoParent ? undefined : parentCid,
    createType: canonical,
    parentFileNameHint: text('parentfilenamehint'),
    isNativeSnapshot: text('isnativesnapshot')?.toLowerCase() === 'yes',
    changeTrackPath: text('changetrackpath'),
    ddb: new Map(ddb.map(([key, { value }]) => [key.slice('ddb.'.length), value])),
  };
}

function versionOf(entries: Entries, name: string): number {
  const entry = entries.get('version');
  if (entry === undefined) return 1;
  const version = /^\d{1,9}$/.test(entry.value) ? Number(entry.value) : 0;
  if (version < 1) throw broken(name, `its version is "${entry.value}"`, entry.at);
  if (version > 3) {
    throw new PrimaError('unsupported', `${name}: its version is ${version}; Prima reads 1 to 3`, {
      details: { version, offset: entry.at },
    });
  }
  return version;
}

function cidOf(entries: Entries, key: string, name: string): number | undefined {
  const entry = entries.get(key);
  if (entry === undefined) return undefined;
  if (!/^[0-9a-f]{1,8}$/i.test(entry.value)) {
    throw broken(
      name,
      `its ${key} is "${entry.value}" where up to 8 hexadecimal digits were wanted`,
      entry.at,
    );
  }
  return Number.parseInt(entry.value, 16);
}

/** `key=value`, `key = "value"`; undefined for any other line, which is kept and not understood. */
function parseEntry(raw: string, decode: Decode): { key: string; value: string } | undefined {
  const equals = raw.indexOf('=');
  const key = raw.slice(0, Math.max(0, equals)).trim();
  if (equals === -1 || !/^[\w.:-]+$/.test(key)) return undefined;
  const rest = raw.slice(equals + 1).trim();
  const last = rest.lastIndexOf('"');
  return { key, value: decode(rest.startsWith('"') && last > 0 ? rest.slice(1, last) : rest) };
}

interface Place {
  name: string;
  at: number;
}

/** Undefined when the line does not begin like an extent; raises `format` when it does and is none. */
function parseExtent(raw: string, decode: Decode, { name, at }: Place): ExtentDescription | undefined {
  const start = /^\s*(RW|RDONLY|NOACCESS)\s+(\S+)\s*(\S*)\s*/i.exec(raw);
  if (!start) return undefined;
  const [whole, access = '', sectorText = '', typeText = ''] = start;
  const type = oneOf(extentTypes, typeText);
  if (!type) throw broken(name, `the extent type "${typeText}" is not known`, at);
  const { file, words } = parseExtentFile(raw.slice(whole.length));
  if (file === undefined && type !== 'ZERO')
    throw broken(name, `an extent of type ${type} names no file`, at);
  const [offset = '0', partitionUuid, deviceId] = words.map(decode);
  return {
    access: oneOf(extentAccesses, access) ?? 'RW',
    sectors: sectorNumber(sectorText, 'the size of an extent', { name, at }),
    type,
    ...(file === undefined ? {} : { file: decode(file) }),
    offset: sectorNumber(offset, 'the offset of an extent', { name, at }),
    ...(partitionUuid === undefined ? {} : { partitionUuid }),
    ...(deviceId === undefined ? {} : { deviceId }),
  };
}

/** What follows the type: `"file name"`, then words that may stand in quotation marks. */
function parseExtentFile(rest: string): { file?: string; words: string[] } {
  const quoted = /^"([^"]*)"/.exec(rest);
  if (!quoted) return { words: [] };
  const words = rest.slice(quoted[0].length).match(/"[^"]*"|[^\s"]+/g) ?? [];
  return { file: quoted[1], words: words.map((word) => word.replaceAll('"', '')) };
}

function oneOf<T extends string>(words: readonly T[], text: string): T | undefined {
  return words.find((word) => word === text.toUpperCase());
}

function sectorNumber(text: string, what: string, { name, at }: Place): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || value > capacityLimitSectors) {
    throw broken(name, `${what} is "${text}" where sectors up to ${capacityLimitSectors} were wanted`, at);
  }
  return value;
}

function broken(name: string, what: string, offset: number): FormatError {
  return new FormatError(`${name}: ${what} (offset ${offset})`, { details: { offset } });
}
