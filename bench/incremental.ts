/**
 * What an incremental backup with change tracking costs: 64 MiB of the disk are changed and named to a
 * session of the repository, in this process, so that the session is measured and not a hypervisor's map.
 */
import { join } from 'node:path';
import { GiB, KiB, MiB, PrimaError, type Range, seededRandom } from '@prima/base';
import { type BlockDevice, memoryDevice, openRawFile, overlayDevice } from '@prima/block';
import { openRepository, type PointDisk, type Repository } from '@prima/repository';
import { openLocalStore } from '@prima/storage';
import { storedBytes } from './contenders.ts';

export interface IncrementalResult {
  /** Bytes that were changed. */
  changed: number;
  /** Bytes of the chunks that they lie in: what is read. */
  read: number;
  /** What the repository grew by, and of that what is outside its packs of data. */
  written: number;
  metadata: number;
  /** From opening the session to the committed point. */
  seconds: number;
  /** Reading the same chunks with nothing done to them. */
  readSeconds: number;
}

/** 64 MiB in runs of `runBytes`, all over the disk, never two in one place. */
function changesOf(sizeBytes: number, runBytes: number): Range[] {
  const random = seededRandom(runBytes);
  const count = (64 * MiB) / runBytes;
  const places = Math.floor(sizeBytes / count / (64 * KiB));
  return Array.from({ length: count }, (_, i) => {
    const slack = places - runBytes / (64 * KiB);
    return { offset: (i * places + random.below(slack)) * 64 * KiB, length: runBytes };
  });
}

/** Writes an incremental point over the newest one of the repository in `folder`. */
export async function benchIncremental(
  folder: string,
  disk: string,
  options: { passphrase: string; runBytes: number },
): Promise<IncrementalResult> {
  await using resources = new AsyncDisposableStack();
  const store = await openLocalStore(folder);
  const repository = await openRepository(store, { kind: 'passphrase', text: options.passphrase });
  resources.defer(() => repository.close());
  const base = await openRawFile(disk);
  const device = overlayDevice(base, memoryDevice(base.size));
  resources.defer(() => device.close());
  const changed = changesOf(Math.min(device.size, 4 * GiB), options.runBytes);
  const random = seededRandom(options.runBytes + Date.now());
  for (const { offset, length } of changed) {
    await device.write(offset, random.bytes(new Uint8Array(length)));
  }
  const readSeconds = await timeReading(device, changed, repository.chunkSize);
  const before = await sizes(folder);
  const start = performance.now();
  const { read } = await writePoint(repository, device, changed);
  const seconds = (performance.now() - start) / 1000;
  const after = await sizes(folder);
  const written = after.all - before.all;
  const metadata = written - (after.data - before.data);
  return { changed: 64 * MiB, read, written, metadata, seconds, readSeconds };
}

async function sizes(folder: string): Promise<{ all: number; data: number }> {
  return { all: await storedBytes(folder), data: await storedBytes(join(folder, 'packs/data')) };
}

async function timeReading(
  device: BlockDevice,
  changed: readonly Range[],
  chunkSize: number,
): Promise<number> {
  const start = performance.now();
  const into = new Uint8Array(new SharedArrayBuffer(chunkSize));
  const chunks = new Set<number>();
  for (const { offset, length } of changed) {
    for (let at = Math.floor(offset / chunkSize); at * chunkSize < offset + length; at += 1) chunks.add(at);
  }
  for (const chunk of chunks) await device.read(chunk * chunkSize, into);
  return (performance.now() - start) / 1000;
}

async function writePoint(repository: Repository, device: BlockDevice, changed: readonly Range[]) {
  const point = (await repository.points()).at(-1);
  const parent: PointDisk | undefined = point?.disks[0];
  if (!point || !parent) throw new PrimaError('not-found', 'the repository has no point to build on');
  const session = await repository.beginBackup();
  const result = await session.writeDisk({
    name: parent.name,
    device,
    changed,
    parent: { point: point.id, root: parent.root },
  });
  if (result.trackingFault) throw new PrimaError('internal', 'the parent is not what the disk was');
  const now = new Date().toISOString();
  const { id, ...draft } = point;
  const disks = [{ ...parent, root: result.root, changed: 'tracked' as const, figures: result.figures }];
  await session.commit({ ...draft, time: now, started: now, finished: now, disks, parent: id });
  return result.figures;
}
