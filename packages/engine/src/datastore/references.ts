/** Which other files a file of a disk needs, read from its first bytes: extents, parents, backing files, redo logs. */
import { open, readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { systemErrorCode } from '@prima/base';
import {
  localFolder,
  parentNames,
  parseQcow2Header,
  parseRedoRecord,
  qcow2HeaderBytes,
  readLinkText,
} from '@prima/formats';

export type FileRole =
  | 'disk'
  | 'extent'
  | 'parent'
  | 'backing file'
  | 'data file'
  | 'redo log'
  | 'redo record'
  | 'change tracking';

/** A file that another names; `names` in the order in which to look for it beside that. */
export interface Reference {
  role: FileRole;
  names: readonly string[];
}

export interface DiskFacts {
  format: string;
  /** Bytes that the guest sees, where the file itself says. */
  capacity?: number;
  references: Reference[];
}

/** A guest writes the first bytes of a raw disk; named so, they are never taken for more. */
const rawName = /(?:\.(?:raw|img|dsk|iso|bin)|-(?:flat|f\d{3}|rdm|rdmp)\.vmdk)$/i;

/** Raises what reading does, and `format` for what is damaged. */
export async function readReferences(path: string): Promise<DiskFacts> {
  const references = await redoReferences(path);
  if (rawName.test(path)) {
    const { size } = await stat(path);
    return { format: 'raw', capacity: size, references };
  }
  const head = await firstBytes(path);
  if (head.length >= 4 && head.readUInt32BE(0) === 0x514649fb) {
    const { size, backingFile, hasDataFile, dataFile } = parseQcow2Header(head);
    if (backingFile !== undefined) references.push({ role: 'backing file', names: [plainName(backingFile)] });
    if (hasDataFile && dataFile !== undefined) references.push({ role: 'data file', names: [dataFile] });
    return { format: 'qcow2', capacity: size, references };
  }
  if (!/\.(?:vmdk|redo[^/]*)$/i.test(path) && !isVmdk(head)) return { format: 'raw', references };
  const { format, descriptor, parent } = await readLinkText(path, localFolder([dirname(path)]));
  const extents = descriptor?.extents ?? [];
  for (const { file } of extents) {
    // a disk in one file names itself, perhaps by an older name
    if (file !== undefined && format === 'descriptor')
      references.push({ role: 'extent', names: namesOf(file) });
  }
  const tracking = descriptor?.changeTrackPath;
  if (tracking !== undefined) references.push({ role: 'change tracking', names: namesOf(tracking) });
  if (parent) references.push({ role: 'parent', names: parentNames(parent.hint) });
  const sectors = extents.reduce((sum, extent) => sum + extent.sectors, 0);
  const capacity = descriptor ? { capacity: sectors * 512 } : {};
  return { format: format === 'flat' ? 'raw' : 'vmdk', references, ...capacity };
}

/** QEMU writes `json:` and `file:` names, too; what follows is the file's where it is plain. */
function plainName(name: string): string {
  return name.replace(/^file:/, '');
}

function namesOf(file: string): string[] {
  return [...new Set([file, basename(file.replaceAll('\\', '/'))])];
}

function isVmdk(head: Buffer): boolean {
  const text = head.toString('latin1', 0, 21);
  return /^(?:KDMV|COWD|# disk descriptorfile)/i.test(text);
}

/** The record of a disk's redo logs, and what it names, where there is one beside it. */
async function redoReferences(path: string): Promise<Reference[]> {
  const record = `${path}.redo.json`;
  let text: string;
  try {
    text = await readFile(record, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
  const { logs, doing } = parseRedoRecord(text, record);
  const files = [...logs, ...(doing?.do === 'add' ? [doing.log] : [])].flatMap((log) => log.files);
  return [
    { role: 'redo record', names: [basename(record)] },
    ...files.map((name): Reference => ({ role: 'redo log', names: [name] })),
  ];
}

async function firstBytes(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(qcow2HeaderBytes), 0, qcow2HeaderBytes, 0);
  return buffer.subarray(0, bytesRead);
}
