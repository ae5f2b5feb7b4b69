/**
 * Writing VMDK descriptors (see descriptor.ts): new ones in the order that VMware uses, and changed ones with every
 * line that did not change as it was.
 */
import { type Random, UserError } from '@prima/base';
import type { CreateType } from './create-types.ts';
import {
  cidNoParent,
  type DescriptorLine,
  type ExtentDescription,
  parseDescriptor,
  type VmdkDescriptor,
} from './descriptor.ts';
import { decoderOf, isAscii } from './descriptor-text.ts';

/** How keys are spelled; QEMU, for one, finds them only so. */
const spellings = [
  'version',
  'encoding',
  'CID',
  'parentCID',
  'isNativeSnapshot',
  'createType',
  'parentFileNameHint',
  'changeTrackPath',
];
const canonicalKeys = new Map(spellings.map((key) => [key.toLowerCase(), key]));
const unquoted = new Set(['version', 'CID', 'parentCID']);
const extentTitle = '# Extent description';

export interface NewDescriptor {
  cid: number;
  createType: CreateType;
  /** Both or none. */
  parentCid?: number;
  parentFileNameHint?: string;
  extents: readonly ExtentDescription[];
  /** Without `ddb.`, in this order. */
  ddb: Readonly<Record<string, string | number>>;
}

/** A descriptor as VMware would write it. Raises `usage` for a name that cannot stand in one. */
export function newDescriptor(fields: NewDescriptor): VmdkDescriptor {
  const { cid, createType, parentCid, parentFileNameHint, extents, ddb } = fields;
  const lines = [
    '# Disk DescriptorFile',
    entryText('version', 1),
    entryText('encoding', 'UTF-8'),
    entryText('CID', formatCid(cid)),
    entryText('parentCID', formatCid(parentCid ?? cidNoParent)),
    entryText('createType', createType),
    ...(parentFileNameHint === undefined ? [] : [entryText('parentFileNameHint', parentFileNameHint)]),
    '',
    extentTitle,
    ...extents.map(extentText),
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    ...Object.entries(ddb).map(([key, value]) => entryText(`ddb.${key}`, value)),
  ];
  return parseDescriptor(Buffer.from(`${lines.join('\n')}\n`));
}

/**
 * The text of a descriptor. What was read comes back byte for byte, but for three things that others stumble over:
 * known keys and words are spelled as VMware does, and nothing stands between the extents and their title.
 */
export function writeDescriptor(descriptor: VmdkDescriptor): Buffer {
  const lines = titled(descriptor.lines.map((line) => canonicalLine(line)));
  return Buffer.from(lines.map(({ raw, end }) => raw + end).join(''), 'latin1');
}

/**
 * A copy with other values: `{ CID: '1a2b3c4d', 'ddb.uuid': undefined }` replaces the one and removes the other.
 * A key that is not there is added: to the header's end, or, a `ddb.` one, to the end.
 */
export function changeDescriptor(
  descriptor: VmdkDescriptor,
  changes: Readonly<Record<string, string | number | undefined>>,
): VmdkDescriptor {
  const texts = Object.values(changes).map(String);
  const base = texts.every(isAscii) ? descriptor : inUtf8(descriptor);
  let lines = [...base.lines];
  for (const [key, value] of Object.entries(changes)) lines = changeLine(lines, key, value);
  return parseDescriptor(joined(lines));
}

/** The descriptor for a disk whose change tracking file does not come along (a restored one). */
export function withoutChangeTracking(descriptor: VmdkDescriptor): VmdkDescriptor {
  const lines = descriptor.lines.filter(({ raw }) => !/^\s*#\s*change tracking file\s*$/i.test(raw));
  const version = descriptor.version === 3 ? { version: 1 } : {};
  return changeDescriptor({ ...descriptor, lines }, { changeTrackPath: undefined, ...version });
}

/** A copy with other extents, in the place of the old ones. */
export function replaceExtents(
  descriptor: VmdkDescriptor,
  extents: readonly ExtentDescription[],
): VmdkDescriptor {
  const ascii = extents.every(({ file = '' }) => isAscii(file));
  const { lines } = ascii ? descriptor : inUtf8(descriptor);
  const first = lines.findIndex(({ extent }) => extent !== undefined);
  const end = newlineOf(lines);
  const fresh = extents.map((extent) => ({ raw: toBytes(extentText(extent)), end, extent }));
  const at = first === -1 ? lines.length : first;
  const kept = (line: DescriptorLine) => line.extent === undefined;
  return parseDescriptor(joined([...lines.slice(0, at), ...fresh, ...lines.slice(at).filter(kept)]));
}

/** Eight digits. */
export function formatCid(cid: number): string {
  return cid.toString(16).padStart(8, '0');
}

/** A random CID; never one of the two that mean "not set" and "no parent", and never `other`. */
export function newCid(random: Random, other?: number): number {
  for (;;) {
    const cid = random.uint32();
    if (cid < 0xfffffffe && cid !== other) return cid;
  }
}

/** The content changed: a new CID, and with it the end of `ddb.longContentID` where there is one. */
export function withCid(descriptor: VmdkDescriptor, cid: number): VmdkDescriptor {
  const long = descriptor.ddb.get('longcontentid');
  const changes: Record<string, string> = { CID: formatCid(cid) };
  if (long !== undefined && long.length >= 8)
    changes['ddb.longContentID'] = long.slice(0, -8) + formatCid(cid);
  return changeDescriptor(descriptor, changes);
}

function canonicalLine(line: DescriptorLine): DescriptorLine {
  const { raw, key, value, extent } = line;
  if (extent) {
    const [, access = '', , type = ''] = /^\s*(\S+)\s+(\S+)\s+(\S+)/.exec(raw) ?? [];
    return access === extent.access && type === extent.type ? line : { ...line, raw: canonicalExtent(raw) };
  }
  if (key === undefined || value === undefined) return line;
  const wanted = canonicalKeys.get(key.toLowerCase());
  return wanted === undefined || wanted === key ? line : { ...line, raw: raw.replace(key, wanted) };
}

function canonicalExtent(raw: string): string {
  const [, words = '', rest = ''] = /^(\s*\S+\s+\S+\s+\S+)(.*)$/.exec(raw) ?? [];
  return words.toUpperCase() + rest;
}

/** QEMU 7.2 counts an extent once more for every blank line right before it. */
function titled(lines: readonly DescriptorLine[]): DescriptorLine[] {
  const result: DescriptorLine[] = [];
  for (const line of lines) {
    const before = result.at(-1);
    if (line.extent && before !== undefined && before.raw.trim() === '') {
      while (result.at(-1)?.raw.trim() === '') result.pop();
      const end = before.end || '\n';
      if (!result.at(-1)?.raw.startsWith('#')) result.push({ raw: '', end }, { raw: extentTitle, end });
    }
    result.push(line);
  }
  return result;
}

function changeLine(
  lines: readonly DescriptorLine[],
  key: string,
  value: string | number | undefined,
): DescriptorLine[] {
  const isIt = (line: DescriptorLine) => line.key?.toLowerCase() === key.toLowerCase();
  const at = lines.findIndex(isIt);
  if (value === undefined) return lines.filter((line) => !isIt(line));
  const old = lines[at];
  const end = old === undefined || old.end === '' ? newlineOf(lines) : old.end;
  const fresh: DescriptorLine = { raw: toBytes(entryText(key, value)), end, key, value: String(value) };
  if (old !== undefined) return [...lines.slice(0, at), fresh, ...lines.slice(at + 1)];
  const place = key.startsWith('ddb.') ? lines.length : headerEnd(lines);
  const head = lines.slice(0, place);
  const last = head.at(-1);
  if (last && last.end === '') head[place - 1] = { ...last, end };
  return [...head, fresh, ...lines.slice(place)];
}

/** After the last entry that is none of the disk database's and stands before the extents. */
function headerEnd(lines: readonly DescriptorLine[]): number {
  const last = lines.findLastIndex(({ key }) => key !== undefined && canonicalKeys.has(key.toLowerCase()));
  return last + 1;
}

function newlineOf(lines: readonly DescriptorLine[]): string {
  return lines[0]?.end === '\r\n' ? '\r\n' : '\n';
}

function entryText(key: string, value: string | number): string {
  const text = String(value);
  if (/["\0\r\n]/.test(text))
    throw new UserError('usage', `"${text}" cannot be the ${key} of a VMDK descriptor`);
  const spelling = canonicalKeys.get(key.toLowerCase()) ?? key;
  if (unquoted.has(spelling)) return `${spelling}=${text}`;
  return canonicalKeys.has(key.toLowerCase()) ? `${spelling}="${text}"` : `${spelling} = "${text}"`;
}

/** An extent as a line: `RW 4192256 SPARSE "disk-s001.vmdk"`. */
function extentText(extent: ExtentDescription): string {
  const { access, sectors, type, file, offset, partitionUuid, deviceId } = extent;
  if (file !== undefined && /["\0\r\n]/.test(file)) {
    throw new UserError('usage', `"${file}" cannot be the name of an extent in a VMDK descriptor`);
  }
  const words = [access, String(sectors), type];
  if (file !== undefined) words.push(`"${file}"`);
  if (file !== undefined && (type === 'FLAT' || offset > 0 || partitionUuid !== undefined))
    words.push(`${offset}`);
  if (partitionUuid !== undefined) words.push(`"${partitionUuid}"`);
  if (deviceId !== undefined) words.push(`"${deviceId}"`);
  return words.join(' ');
}

/** The same with its text in UTF-8, the only encoding that is written when something beyond ASCII is new. */
function inUtf8(descriptor: VmdkDescriptor): VmdkDescriptor {
  if (descriptor.encoding?.toLowerCase() === 'utf-8') return descriptor;
  const decode = decoderOf(descriptor.encoding);
  const lines = descriptor.lines.map((line) => ({ ...line, raw: toBytes(decode(line.raw)) }));
  return parseDescriptor(joined(changeLine(lines, 'encoding', 'UTF-8')));
}

function toBytes(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function joined(lines: readonly DescriptorLine[]): Buffer {
  return Buffer.from(lines.map(({ raw, end }) => raw + end).join(''), 'latin1');
}
