/** For tests of this package: a small repository in memory, disks, backups and restores. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { KiB, MiB, type Range } from '@prima/base';
import { type BlockDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { memoryStore, type ObjectStore } from '@prima/storage';
import type { Repository } from './contract.ts';
import type { Point } from './point.ts';
import { createRepository } from './repository.ts';

export const secret = { kind: 'passphrase', text: 'correct horse' } as const;
export const small = { chunkSize: 256 * KiB, workers: 1, packBytes: MiB };

export async function fresh(): Promise<{ store: ObjectStore; repository: Repository }> {
  const store = memoryStore();
  return {
    store,
    repository: await createRepository(store, {
      secret,
      ...small,
      kdfCost: { memoryKiB: 8192, passes: 1, lanes: 1 },
    }),
  };
}

export async function diskOf(size: number, fill: Range[] = []): Promise<WritableDevice> {
  const device = memoryDevice(size);
  for (const { offset, length } of fill) await device.write(offset, randomBytes(length));
  return device;
}

export async function content(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

interface BackupOptions {
  changed?: Range[];
  parent?: Point;
  sampleChunks?: number;
  storeRate?: number;
}

export async function backup(repository: Repository, device: BlockDevice, options: BackupOptions = {}) {
  const { changed, parent, sampleChunks, storeRate } = options;
  const session = await repository.beginBackup(storeRate === undefined ? {} : { storeRate });
  const result = await session.writeDisk({
    name: 'disk0',
    device,
    ...(changed ? { changed } : {}),
    ...(parent?.disks[0] ? { parent: { point: parent.id, root: parent.disks[0].root } } : {}),
    ...(sampleChunks === undefined ? {} : { sampleChunks }),
  });
  const file = await session.writeFile('m.vmx', Buffer.from('displayName = "m"\n'));
  const time = new Date().toISOString();
  const point = await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: changed ? 'tracked' : 'all', ...result }],
    skipped: [],
    files: [file],
    tags: [],
    notes: [],
    warnings: [],
  });
  return { point, result };
}

export async function restored(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    return await content(device);
  } finally {
    await device.close();
  }
}

export async function sound(repository: Repository): Promise<void> {
  const report = await repository.check({ readData: true });
  assert.deepEqual(report.faults, []);
}
