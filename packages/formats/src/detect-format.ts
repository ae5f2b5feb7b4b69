/**
 * Which format a disk file has.
 *
 *   format   magic                                             where
 *   qcow2    51 46 49 FB ("QFI\xFB"), then u32 BE 2 or 3       0
 *   qcow     51 46 49 FB, then u32 BE 1                        0
 *   qed      51 45 44 00 ("QED\0")                             0
 *   vmdk     "KDMV" (hosted sparse), "COWD" (ESX sparse),      0
 *            BE BA FE CA 00 00 00 00 (seSparse), or
 *            "# Disk DescriptorFile" (a descriptor, any case)
 *            The redo logs of ESX have no ending of their own: web.dsk.REDO, web.vmdk.REDO_Ab12Cd.
 *   vhdx     "vhdxfile"                                        0
 *   vpc      "conectix" (VHD: a copy of the footer)            0, for a fixed one only 512 before the end
 *   vdi      7F 10 DA BE (u32 LE 0xBEDA107F)                   64
 *   luks     4C 55 4B 53 BA BE ("LUKS\xBA\xBE")                0
 *   parallels "WithoutFreeSpace", "WithouFreSpacExt"           0
 *
 * A raw disk's first bytes belong to its guest, who may write any magic there, together with the name of
 * a file on the host as "backing file". Therefore the content alone never decides against raw:
 *
 *   - a block device, and a file named .raw, .img, .dsk, .iso …, or *-flat.vmdk, is raw whatever it holds;
 *   - a file named after a format (.qcow2, .vmdk …) has that format, and its magic has to agree;
 *   - any other name: raw when there is no magic, otherwise `ambiguous`, and somebody has to say it.
 */
import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { FormatError, PrimaError, toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';

/** Formats that Prima reads; QEMU's names for them. */
export const diskFormats = ['raw', 'qcow2', 'vmdk', 'vhdx', 'vdi', 'vpc'] as const;
export type DiskFormat = (typeof diskFormats)[number];

export interface DetectedFormat {
  format: DiskFormat;
  /** Why this one, a phrase for the log: "it is named .img". */
  reason: string;
}

const rawEnding = /(?:\.(?:raw|img|ima|dsk|iso|bin|dd)|-(?:flat|f\d{3})\.vmdk)$/i;
/** What ESX puts behind the name of the disk whose writes the file takes. */
const redoEnding = /\.redo(?:_[a-z0-9]+)?$/i;
const endings: Partial<Record<string, DiskFormat>> = {
  qcow2: 'qcow2',
  qcow: 'qcow2',
  vmdk: 'vmdk',
  vhdx: 'vhdx',
  vdi: 'vdi',
  vhd: 'vpc',
  vpc: 'vpc',
};

/**
 * The format of the file at a path, or of a device whose file is called `name`; see the table above.
 * Raises `ambiguous` (the content shows a format, the name none), `format` (the two disagree),
 * `unsupported` (a format that Prima does not read), `not-found`, `permission`.
 */
export async function detectFormat(source: string | BlockDevice, name?: string): Promise<DiskFormat> {
  return (await explainFormat(source, name)).format;
}

/** Like `detectFormat`, with the reason. */
export async function explainFormat(source: string | BlockDevice, name?: string): Promise<DetectedFormat> {
  if (typeof source !== 'string') return decide(name ?? '', magicOf(await endsOfDevice(source)));
  const { bytes, isBlockDevice } = await endsOfFile(source);
  if (isBlockDevice) return { format: 'raw', reason: 'it is a block device' };
  return decide(name ?? source, magicOf(bytes));
}

interface Ends {
  /** The first 512 bytes, or fewer. */
  first: Uint8Array;
  /** The last 512 bytes, or fewer. */
  last: Uint8Array;
}

const endBytes = 512;

function decide(path: string, magic: string | undefined): DetectedFormat {
  const name = basename(path);
  if (rawEnding.test(name)) {
    const but = magic === undefined || magic === 'vpc-footer' ? '' : `, though it begins like ${magic}`;
    return { format: 'raw', reason: `it is named ${name}${but}` };
  }
  const ending = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  const wanted = redoEnding.test(name) ? 'vmdk' : endings[ending];
  const found = magic === 'vpc-footer' ? (wanted === 'vpc' ? 'vpc' : undefined) : magic;
  if (wanted !== undefined) return agree(path, wanted, found);
  if (found === undefined) return { format: 'raw', reason: 'no known format shows in its first bytes' };
  throw new PrimaError(
    'ambiguous',
    `${path || 'the disk'} begins like ${found}, but its name does not say so: either it is ${found} and should be ` +
      `named so (.${found}), or it is raw (.raw) and its guest wrote this; say which by renaming it or naming the format`,
    { details: { path, found } },
  );
}

function agree(path: string, wanted: DiskFormat, found: string | undefined): DetectedFormat {
  if (found === wanted) return { format: wanted, reason: `its name and its first bytes say ${wanted}` };
  const seen = found === undefined ? 'no known format' : found;
  const message = `${path} is named as ${wanted} but its first bytes show ${seen}; name the format or correct the name`;
  if (found !== undefined && !isDiskFormat(found)) {
    throw new PrimaError('unsupported', `${path} is of the format ${found}, which Prima does not read`);
  }
  throw new FormatError(message, { details: { path, wanted, found: seen, offset: 0 } });
}

export function isDiskFormat(text: string): text is DiskFormat {
  return (diskFormats as readonly string[]).includes(text);
}

/** The magic at the beginning (or, `vpc-footer`, at the end); undefined when there is none known. */
function magicOf({ first, last }: Ends): string | undefined {
  const text = Buffer.from(first.buffer, first.byteOffset, first.byteLength).toString('latin1');
  if (text.startsWith('QFI\xfb')) return text.slice(4, 8) === '\0\0\0\x01' ? 'qcow' : 'qcow2';
  if (text.startsWith('QED\0')) return 'qed';
  if (text.startsWith('KDMV') || text.startsWith('COWD')) return 'vmdk';
  if (text.startsWith('\xbe\xba\xfe\xca\0\0\0\0') || /^# disk descriptorfile/i.test(text)) return 'vmdk';
  if (text.startsWith('vhdxfile')) return 'vhdx';
  if (text.startsWith('conectix')) return 'vpc';
  if (text.startsWith('\x7f\x10\xda\xbe', 64)) return 'vdi';
  if (text.startsWith('LUKS\xba\xbe')) return 'luks';
  if (text.startsWith('WithoutFreeSpace') || text.startsWith('WithouFreSpacExt')) return 'parallels';
  const footer = Buffer.from(last.buffer, last.byteOffset, last.byteLength).toString('latin1', 0, 8);
  return footer === 'conectix' ? 'vpc-footer' : undefined;
}

async function endsOfDevice(device: BlockDevice): Promise<Ends> {
  const length = Math.min(endBytes, device.size);
  const first = new Uint8Array(length);
  const last = new Uint8Array(length);
  await device.read(0, first);
  await device.read(device.size - length, last);
  return { first, last };
}

async function endsOfFile(path: string): Promise<{ bytes: Ends; isBlockDevice: boolean }> {
  try {
    const info = await stat(path); // before opening: a named pipe would block
    const nothing = { first: new Uint8Array(), last: new Uint8Array() };
    if (info.isBlockDevice()) return { bytes: nothing, isBlockDevice: true };
    if (!info.isFile()) throw new PrimaError('unsupported', `${path} is neither a file nor a block device`);
    await using handle = await open(path, 'r');
    const read = async (position: number) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(endBytes), 0, endBytes, position);
      return buffer.subarray(0, bytesRead);
    };
    const bytes = { first: await read(0), last: await read(Math.max(0, info.size - endBytes)) };
    return { bytes, isBlockDevice: false };
  } catch (error) {
    throw toPrimaError(error, `looking for the format of ${path}`);
  }
}
