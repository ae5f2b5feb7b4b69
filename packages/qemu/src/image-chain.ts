/**
 * The files that belong to an image. QEMU is never left to guess a format (a raw disk's guest could
 * write a qcow2 header that names a file of the host) nor to follow a name that was not looked at: every
 * image is opened by an explicit graph of exactly the files that are listed here.
 */
import { open, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { FormatError, PrimaError, toPrimaError } from '@prima/base';
import { type DiskFormat, isDiskFormat, parseQcow2Header, qcow2HeaderBytes } from '@prima/formats';
import { type BlockToolOptions, qemuImg } from './block-tool.ts';
import { iscsiNode, type IscsiLun, parseIscsiUrl } from './iscsi-url.ts';
import { isJsonObject } from './json-lines.ts';

/** One image of a chain. */
export interface ImageFile {
  /** Absolute. */
  path: string;
  format: DiskFormat;
  isBlockDevice: boolean;
  /** The LUN that `path`, an `iscsi:` URL, names. */
  lun?: IscsiLun;
  /** The file that holds the data of a qcow2 file which has only its tables itself. */
  dataFile?: string;
}

export interface ChainOptions extends BlockToolOptions {
  /** False raises `unsupported` for an image that has a backing or data file. Default true. */
  allowBacking?: boolean;
}

const longestChain = 200;

/**
 * The image at `path` and its backing files, top first. Raises `unsupported` for names that are no
 * plain local files and for backing files without a recorded format, `format` for damage or a loop,
 * `not-found`, `permission`.
 */
export async function imageChain(
  path: string,
  format: DiskFormat,
  options: ChainOptions = {},
): Promise<ImageFile[]> {
  const { allowBacking = true } = options;
  const chain: ImageFile[] = [];
  const seen = new Set<string>();
  let next: { path: string; format: DiskFormat } | undefined = {
    path: parseIscsiUrl(path) ? path : resolve(path),
    format,
  };
  while (next) {
    const image = await lookAt(next.path, next.format);
    if (seen.has(image.real) || chain.length >= longestChain) {
      throw new FormatError(
        `the backing files of ${path} form a loop, or more than ${longestChain}, at ${next.path}`,
      );
    }
    seen.add(image.real);
    const named = await namedFiles(image.file, options);
    if (!allowBacking && (named.backing || named.dataFile !== undefined)) {
      const name = named.backing?.path ?? named.dataFile;
      throw new PrimaError(
        'unsupported',
        `${path} needs another file, ${name}, and only single files are allowed`,
      );
    }
    chain.push({ ...image.file, dataFile: named.dataFile });
    next = named.backing;
  }
  return chain;
}

/** QEMU's explicit graph for a chain, as the file name that its tools take. */
export function graphName(chain: readonly ImageFile[]): string {
  return `json:${JSON.stringify(graph(chain))}`;
}

/** The same for the top alone: its backing file is not opened. */
export function topName(chain: readonly ImageFile[]): string {
  return graphName(chain.slice(0, 1));
}

function graph([top, ...rest]: readonly ImageFile[]): object | null {
  if (!top) return null;
  return {
    driver: top.format,
    file: top.lun
      ? iscsiNode(top.lun)
      : { driver: top.isBlockDevice ? 'host_device' : 'file', filename: top.path },
    ...(top.dataFile === undefined ? {} : { 'data-file': { driver: 'file', filename: top.dataFile } }),
    ...(top.format === 'qcow2' || top.format === 'vmdk' ? { backing: graph(rest) } : {}),
  };
}

async function lookAt(path: string, format: DiskFormat): Promise<{ file: ImageFile; real: string }> {
  const lun = format === 'raw' ? parseIscsiUrl(path) : undefined;
  if (lun) return { file: { path, format, isBlockDevice: false, lun }, real: path };
  try {
    const info = await stat(path);
    const isBlockDevice = info.isBlockDevice();
    if (!isBlockDevice && !info.isFile()) {
      throw new PrimaError('unsupported', `${path} is neither a file nor a block device`);
    }
    return { file: { path, format, isBlockDevice }, real: await realpath(path) };
  } catch (error) {
    throw toPrimaError(error, `opening the image ${path}`);
  }
}

interface NamedFiles {
  backing?: { path: string; format: DiskFormat };
  dataFile?: string;
}

async function namedFiles(file: ImageFile, options: BlockToolOptions): Promise<NamedFiles> {
  if (file.format === 'qcow2') return qcow2Files(file);
  if (file.format === 'vmdk') return vmdkFiles(file, options);
  return {}; // QEMU reads no chains of the others
}

async function qcow2Files(file: ImageFile): Promise<NamedFiles> {
  const doing = `reading the header of ${file.path}`;
  let bytes: Buffer;
  try {
    await using handle = await open(file.path, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(qcow2HeaderBytes), 0, qcow2HeaderBytes, 0);
    bytes = buffer.subarray(0, bytesRead);
  } catch (error) {
    throw toPrimaError(error, doing);
  }
  const header = parseHeader(bytes, file.path);
  if (header.hasDataFile && header.dataFile === undefined) {
    throw new PrimaError('unsupported', `${file.path} keeps its data in another file but does not name it`);
  }
  const dataFile =
    header.hasDataFile && header.dataFile !== undefined ? localFile(file, header.dataFile) : undefined;
  if (header.backingFile === undefined) return { dataFile };
  return { dataFile, backing: backingOf(file, header.backingFile, header.backingFormat) };
}

function parseHeader(bytes: Buffer, path: string) {
  try {
    return parseQcow2Header(bytes);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`${path}: ${error.message}`, { cause: error, details: error.details });
  }
}

async function vmdkFiles(file: ImageFile, options: BlockToolOptions): Promise<NamedFiles> {
  const args = ['info', '--output=json', '-U', topName([file])];
  const { stdout } = await qemuImg(args, `looking at ${file.path}`, options);
  const info = parseInfo(stdout, file.path);
  const name = info['backing-filename'];
  return typeof name === 'string' ? { backing: backingOf(file, name, 'vmdk') } : {};
}

/** The object that `qemu-img info --output=json` prints. Raises `format`. */
export function parseInfo(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`qemu-img info of ${path} is not JSON: ${text.slice(0, 80)}`, { cause: error });
  }
  if (isJsonObject(value)) return value;
  throw new FormatError(`qemu-img info of ${path} is not an object: ${text.slice(0, 80)}`);
}

function backingOf(file: ImageFile, name: string, format: string | undefined): NamedFiles['backing'] {
  const path = localFile(file, name);
  if (format === undefined) {
    throw new PrimaError(
      'unsupported',
      `${file.path} does not say which format its backing file ${name} has, and guessing it is not safe; ` +
        `record it: qemu-img rebase -u -b '${name}' -F FORMAT '${file.path}'`,
    );
  }
  if (isDiskFormat(format)) return { path, format };
  throw new PrimaError('unsupported', `${file.path} has a backing file of the format "${format}"`);
}

/** QEMU takes a name with a colon before any slash for a protocol: `nbd:…`, `json:{…}`. */
function localFile(file: ImageFile, name: string): string {
  if (/^[^/]*:/.test(name) || name.includes('\0') || name === '') {
    throw new PrimaError(
      'unsupported',
      `${file.path} names "${name.slice(0, 200)}" as a file that it needs; only local files are opened`,
    );
  }
  return resolve(dirname(file.path), name);
}
