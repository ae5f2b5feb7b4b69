/** A machine's configuration from where it is (a file, a package, a point, a host), and as another kind of host has it. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { PrimaError, toPrimaError, UserError } from '@prima/base';
import {
  type ConfigurationDialect,
  configurationLimitBytes,
  type MachineDescription,
  type NotCarried,
  openOva,
  type ReadConfiguration,
  readConfiguration,
  writeConfiguration,
} from '@prima/formats';
import type { Machine, Platform } from '@prima/platforms';
import type { Point, Repository } from '@prima/repository';
import { writeXml } from '@prima/xml';

export interface FoundConfiguration {
  /** Where it was found, for people. */
  from: string;
  bytes: Uint8Array;
  read: ReadConfiguration;
  /** What relative paths in it start from, where that is known. */
  folder?: string;
}

const tarBlockBytes = 512;

/**
 * Of a file, told by its content: .vmx, OVF, OVA, libvirt XML, QEMU's arguments. Raises `format`, `not-found`, `permission`.
 * @param system the `ovf:id` of one of several machines
 */
export async function configurationOfFile(path: string, system?: string): Promise<FoundConfiguration> {
  const bytes = await readBegin(path);
  const isWhole = bytes.length <= configurationLimitBytes;
  const choices = system === undefined ? {} : { system };
  if (isTar(bytes)) {
    const ova = await openOva(createReadStream(path));
    const envelope = Buffer.from(writeXml(ova.document));
    await ova.close();
    return { from: path, bytes: envelope, read: readConfiguration(envelope, ova.name, choices) };
  }
  if (!isWhole) {
    throw new PrimaError('format', `${path} is too large for a machine's configuration, and no OVA`);
  }
  const read = readConfiguration(bytes, path, choices);
  return { from: path, bytes, read, folder: dirname(resolve(path)) };
}

/** A little more than the largest configuration: who gets more knows that it is none. */
async function readBegin(path: string): Promise<Buffer> {
  try {
    if (!(await stat(path)).isFile()) throw new UserError('usage', `${path} is no file`);
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(size, configurationLimitBytes + 1));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return bytes.subarray(0, bytesRead);
  } catch (error) {
    throw toPrimaError(error, `reading ${path}`);
  }
}

/** POSIX.1-1988 ustar, and GNU tar: `ustar` at 257. */
function isTar(bytes: Buffer): boolean {
  return bytes.length >= tarBlockBytes && bytes.toString('latin1', 257, 262) === 'ustar';
}

/** Of a machine on a host, with the sizes of its disks. */
export async function configurationOfMachine(
  platform: Platform,
  machine: Machine,
): Promise<FoundConfiguration> {
  const { name, bytes } = await platform.configuration(machine);
  const read = readConfiguration(bytes, name);
  addSizes(read, machine.disks);
  const folder = machine.folder === undefined ? {} : { folder: machine.folder };
  return { from: `${machine.host}/${machine.name}`, bytes, read, ...folder };
}

/** Of a point, with the sizes of its disks. Raises `unsupported` for the point of a bare disk. */
export async function configurationOfPoint(
  repository: Repository,
  point: Point,
): Promise<FoundConfiguration> {
  const from = `point ${point.id.slice(0, 12)} of ${point.machine.name}`;
  const names = point.files.map(({ name }) => name);
  const own =
    names.find((name) => /\.vmx$/i.test(name)) ?? names.find((name) => /\.(?:ovf|xml)$/i.test(name));
  if (own === undefined) {
    throw new UserError('unsupported', `the ${from} has no machine's configuration: it is of a bare disk`);
  }
  const bytes = await repository.readFile(point, own);
  const read = readConfiguration(bytes, own);
  addSizes(read, point.disks);
  return { from, bytes, read };
}

function addSizes(read: ReadConfiguration, disks: readonly { slot?: string; size: number }[]): void {
  for (const { slot = '', size } of disks) {
    const disk = read.disksBySlot.get(slot);
    if (disk && size > 0) disk.capacityBytes = size;
  }
}

export interface ShownConfiguration {
  /** The file's text, or JSON of the description. */
  text: string;
  description: MachineDescription;
  /** What of the source is not in the description, and what of that is not in the text. */
  notRead: NotCarried[];
  notWritten: NotCarried[];
}

/** In the dialect that it is in already, the text is the one that is there. */
export function showConfiguration(
  { bytes, read, folder }: FoundConfiguration,
  as: ConfigurationDialect | 'json',
): ShownConfiguration {
  const { result: description, notCarried: notRead } = read;
  if (as === 'json') {
    return { text: `${JSON.stringify(description, undefined, 2)}\n`, description, notRead, notWritten: [] };
  }
  if (as === read.dialect) {
    return { text: Buffer.from(bytes).toString('utf8'), description, notRead: [], notWritten: [] };
  }
  const choices = folder === undefined ? {} : { folder };
  const { result: text, notCarried: notWritten } = writeConfiguration(description, as, choices);
  return { text, description, notRead, notWritten };
}
