/** Partition tables written by hand, for tests. */
import { crc32 } from 'node:zlib';
import { KiB, MiB } from '@prima/base';
import { memoryDevice, type WritableDevice } from '@prima/block';

/** An entry of a boot record: [type, first sector, sectors], and whether it is active. */
export type Entry = [type: number, first: number, sectors: number, active?: boolean];

export function bootRecord(entries: readonly (Entry | undefined)[], id = 0): Buffer {
  const sector = Buffer.alloc(512);
  sector.writeUInt32LE(id, 440);
  for (const [slot, entry] of entries.entries()) {
    if (!entry) continue;
    const [type, first, sectors, active = false] = entry;
    const at = 446 + slot * 16;
    sector.writeUInt8(active ? 0x80 : 0, at);
    sector.writeUInt8(type, at + 4);
    sector.writeUInt32LE(first, at + 8);
    sector.writeUInt32LE(sectors, at + 12);
  }
  sector.writeUInt16BE(0x55aa, 510);
  return sector;
}

const linux = Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex');

/** The entries of a GPT: Linux partitions of the given sectors (the last one included). */
export function gptEntries(parts: readonly [first: number, last: number, name: string][]): Buffer {
  const bytes = Buffer.alloc(128 * 128);
  for (const [i, [first, last, name]] of parts.entries()) {
    const at = i * 128;
    linux.copy(bytes, at);
    bytes.writeUInt32LE(i + 1, at + 16);
    bytes.writeBigUInt64LE(BigInt(first), at + 32);
    bytes.writeBigUInt64LE(BigInt(last), at + 40);
    bytes.writeBigUInt64LE(i === 0 ? 4n : 0n, at + 48);
    bytes.write(name, at + 56, 72, 'utf16le');
  }
  return bytes;
}

interface HeaderPlaces {
  own: number;
  other: number;
  entriesAt: number;
  sectors: number;
  sectorSize: number;
}

export function gptHeader(entries: Buffer, places: HeaderPlaces): Buffer {
  const { own, other, entriesAt, sectors, sectorSize } = places;
  const sector = Buffer.alloc(sectorSize);
  sector.write('EFI PART', 0, 'latin1');
  sector.writeUInt32LE(0x10000, 8);
  sector.writeUInt32LE(92, 12);
  const reserved = (16 * KiB) / sectorSize + 2;
  for (const [offset, value] of [
    [24, own],
    [32, other],
    [40, reserved],
    [48, sectors - reserved],
    [72, entriesAt],
  ] as const) {
    sector.writeBigUInt64LE(BigInt(value), offset);
  }
  sector.writeUInt32LE(0xd15c, 56);
  sector.writeUInt32LE(128, 80);
  sector.writeUInt32LE(128, 84);
  sector.writeUInt32LE(crc32(entries), 88);
  sector.writeUInt32LE(crc32(sector.subarray(0, 92)), 16);
  return sector;
}

/** A disk of 4 MiB with two partitions in a whole GPT. */
export async function gptDisk(sectorSize = 512): Promise<WritableDevice> {
  const device = memoryDevice(4 * MiB);
  const sectors = device.size / sectorSize;
  const at = (bytes: number) => bytes / sectorSize;
  const entries = gptEntries([
    [at(MiB), at(2 * MiB) - 1, 'första'],
    [at(2 * MiB), at(3 * MiB) - 1, ''],
  ]);
  const backupAt = sectors - 1 - entries.length / sectorSize;
  const common = { sectors, sectorSize };
  await device.write(0, bootRecord([[0xee, 1, sectors - 1]]));
  const primary = { own: 1, other: sectors - 1, entriesAt: 2 };
  await device.write(sectorSize, gptHeader(entries, { ...common, ...primary }));
  await device.write(2 * sectorSize, entries);
  const backup = { own: sectors - 1, other: 1, entriesAt: backupAt };
  await device.write((sectors - 1) * sectorSize, gptHeader(entries, { ...common, ...backup }));
  await device.write(backupAt * sectorSize, entries);
  return device;
}
