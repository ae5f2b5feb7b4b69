/** Disks to damage, for tests: made in memory, filled, and laid open as bytes. */
import { KiB, MiB, type Random, seededRandom } from '@prima/base';
import { type CreateVmdkOptions, createVmdk } from './create-vmdk.ts';
import { parseHostedHeader } from './hosted-header.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';

export const damagedSize = 9 * MiB + 7 * 512;

export interface FilledDisk {
  folder: MemoryFolder;
  /** What the disk holds. */
  expected: Buffer;
}

type Kind = Omit<CreateVmdkOptions, 'folder' | 'size' | 'parent'>;

interface MadeDisk {
  files: Map<string, Buffer>;
  expected: Buffer;
}

const made = new Map<string, Promise<MadeDisk>>();

/** `/disk.vmdk`, over `/base.vmdk` where it is of a kind that has a parent; the same each time. */
export async function filledDisk(options: Kind): Promise<FilledDisk> {
  const key = JSON.stringify(options);
  const making = made.get(key) ?? makeDisk(options);
  made.set(key, making);
  const { files, expected } = await making;
  const folder = memoryFolder();
  for (const [path, bytes] of files) await folder.replace(path, bytes);
  return { folder, expected };
}

async function makeDisk(options: Kind): Promise<MadeDisk> {
  const random = seededRandom(7);
  const folder = memoryFolder();
  const expected = Buffer.alloc(damagedSize);
  const isChild = options.createType === 'vmfsSparse';
  if (isChild) {
    await createVmdk('/base.vmdk', { createType: 'monolithicFlat', size: damagedSize, folder });
    await fill('/base.vmdk', { folder, expected }, random);
  }
  const size = isChild ? { parent: '/base.vmdk' } : { size: damagedSize };
  await createVmdk('/disk.vmdk', { ...options, ...size, folder });
  await fill('/disk.vmdk', { folder, expected }, random);
  const files = new Map<string, Buffer>();
  for (const path of folder.files.keys()) files.set(path, await bytesOf(folder, path));
  return { files, expected };
}

async function fill(path: string, { folder, expected }: FilledDisk, random: Random): Promise<void> {
  const { device } = await openVmdk(path, { folder, writable: true });
  for (let index = 0; index < 24; index += 1) {
    const bytes = random.bytes(new Uint8Array(512 * (1 + random.below(100))));
    const offset = 512 * random.below((damagedSize - bytes.length) / 512 + 1);
    await device.write(offset, bytes);
    expected.set(bytes, offset);
  }
  await device.close();
}

/** The bytes of a file in memory. */
export async function bytesOf(folder: MemoryFolder, path: string): Promise<Buffer> {
  const file = folder.files.get(path);
  const bytes = Buffer.alloc(file?.size ?? 0);
  await file?.read(0, bytes);
  return bytes;
}

export async function setBytes(folder: MemoryFolder, path: string, bytes: Uint8Array): Promise<void> {
  await folder.replace(path, bytes);
}

/** A hosted sparse file laid open: entries by number, and where they are. */
export class OpenedHosted {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get header() {
    return parseHostedHeader(this.bytes, 'test');
  }

  directory(which: 0 | 1): number {
    const { gdOffset = 0, rgdOffset } = this.header;
    return (which === 0 ? gdOffset : rgdOffset) * 512;
  }

  /** Where a table is. */
  table(which: 0 | 1, index: number): number {
    return this.bytes.readUInt32LE(this.directory(which) + index * 4) * 512;
  }

  setTable(which: 0 | 1, index: number, sector: number): void {
    this.bytes.writeUInt32LE(sector, this.directory(which) + index * 4);
  }

  entry(which: 0 | 1, index: number, at: number): number {
    return this.bytes.readUInt32LE(this.table(which, index) + at * 4);
  }

  setEntry(which: 0 | 1, index: number, { at, sector }: { at: number; sector: number }): void {
    this.bytes.writeUInt32LE(sector, this.table(which, index) + at * 4);
  }

  /** Numbers of entries of a table that name a grain. */
  used(index: number): number[] {
    const count = this.header.numGTEsPerGT;
    return Array.from({ length: count }, (_, at) => at).filter((at) => this.entry(1, index, at) > 1);
  }

  /** Numbers of entries of a table that name none. */
  unused(index: number): number[] {
    return Array.from({ length: (8 * KiB) / 16 }, (_, at) => at).filter(
      (at) => this.entry(1, index, at) === 0,
    );
  }
}
