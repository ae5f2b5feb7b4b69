/** Small repositories in memory, and ways to damage them, for tests. */
import { randomBytes } from 'node:crypto';
import { KiB, MiB, type Range } from '@prima/base';
import { type BlockDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { memoryStore, type ObjectStore } from '@prima/storage';
import type { CheckReport, Repository, WriteDiskResult } from '../contract.ts';
import type { Point, PointFile } from '../point.ts';
import { createRepository, openRepository } from '../repository.ts';

export const chunk = 256 * KiB;
const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const small = { workers: 0, packBytes: MiB };
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };

export interface Lab {
  store: ObjectStore;
  repository: Repository;
}

export async function newLab(): Promise<Lab> {
  const store = memoryStore();
  return {
    store,
    repository: await createRepository(store, { secret, ...small, chunkSize: chunk, kdfCost }),
  };
}

/** The same store with nothing remembered. */
export async function reopened(store: ObjectStore): Promise<Repository> {
  return await openRepository(store, secret, small);
}

/** A disk with random bytes in the chunks `data` (default all), zeros in the others. */
export async function randomDisk(chunks: number, data?: readonly number[]): Promise<WritableDevice> {
  const device = memoryDevice(chunks * chunk);
  for (let i = 0; i < chunks; i += 1) {
    if (data?.includes(i) ?? true) await device.write(i * chunk, randomBytes(chunk));
  }
  return device;
}

export async function bytesOf(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

export interface BackUpOptions {
  changed?: Range[];
  parent?: Point;
  machine?: string;
}

export async function backUp(
  repository: Repository,
  device: BlockDevice,
  { changed, parent, machine = 'm' }: BackUpOptions = {},
): Promise<{ point: Point; result: WriteDiskResult }> {
  const session = await repository.beginBackup();
  const root = parent?.disks[0]?.root;
  const tracked =
    changed && parent && root ? { changed, parent: { point: parent.id, root }, sampleChunks: 0 } : {};
  const result = await session.writeDisk({ name: 'disk0', device, ...tracked });
  const file = await session.writeFile(`${machine}.vmx`, Buffer.from(`displayName = "${machine}"\n`));
  const point = await session.commit(
    draftPoint(machine, result, { size: device.size, changed: changed ? 'tracked' : 'all', files: [file] }),
  );
  return { point, result };
}

/** What a backup of one disk commits. */
export function draftPoint(
  machine: string,
  { root, figures }: WriteDiskResult,
  how: { size: number; changed?: 'tracked' | 'all'; files?: PointFile[] },
): Omit<Point, 'id'> {
  const { size, changed = 'all', files = [] } = how;
  const time = new Date().toISOString();
  return {
    machine: { id: machine, name: machine },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size, changed, root, figures }],
    skipped: [],
    files,
    tags: [],
    notes: [],
    warnings: [],
  };
}

/** All of the point's disk. Raises what reading raises. */
export async function restored(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    return await bytesOf(device);
  } finally {
    await device.close();
  }
}

export async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** Puts other bytes in the place of an object, or nothing. */
export async function replaceObject(
  store: ObjectStore,
  key: string,
  change: (bytes: Uint8Array) => Uint8Array | undefined,
): Promise<void> {
  const bytes = change(await store.get(key));
  await store.delete(key);
  if (bytes) await store.putIfAbsent(key, bytes);
}

export const gone = (): undefined => undefined;
export const cutShort = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length / 2);

/** Flips a bit of the byte at `at`. */
export function flipped(at: number): (bytes: Uint8Array) => Uint8Array {
  return (bytes) => {
    const copy = Uint8Array.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
}

/** What a report says, short: kind and affected `point disk offset+length`, by chunks. */
export function told({ faults }: CheckReport, points: readonly Point[]): string[] {
  const name = (id: string) => points.findIndex((point) => point.id === id);
  return faults.flatMap(({ kind, affected }) =>
    affected.length === 0
      ? [kind]
      : affected.map(
          ({ point, disk, offset, length }) =>
            `${kind}: ${name(point)} ${disk} ${offset / chunk}+${length / chunk}`,
        ),
  );
}
