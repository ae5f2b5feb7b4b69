/**
 * Writes a disk to a new qcow2 file (version 3, docs/interop/qcow2.txt of QEMU) in one pass: data first, straight to where it will
 * lie, tables afterwards. Where QEMU's tools allocate cluster by cluster, here the layout is known from what the source says it holds.
 */
import { type ProgressListener, throwIfAborted } from '@prima/base';
import { type BlockDevice, copyDevice, openRawFile, type WritableDevice } from '@prima/block';
import { clusterBytes, entriesPerCluster, type Layout, planLayout, type Run } from './layout.ts';
import { MappedDevice } from './mapped-device.ts';

export interface WriteQcow2Options {
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

const magic = 0x514649fb;
const headerBytes = 104;
/** log2 of the bits of a reference count. */
const refcountOrder = 4;
/** The cluster is used once: QEMU need not look at its reference count before it writes to it. */
const copied = 1n << 63n;

/**
 * What `source` holds, as a new file at `path`, mode 0600, durable when this resolves. Bytes read from the source, and of
 * these written. Raises `exists`, `no-space`, `cancelled` and what the source raises; the file is then incomplete and no qcow2.
 */
export async function writeQcow2File(
  source: BlockDevice,
  path: string,
  { signal, onProgress }: WriteQcow2Options = {},
): Promise<{ read: number; written: number }> {
  const data = [];
  for await (const { kind, ...range } of source.extents({ offset: 0, length: source.size }, { signal })) {
    if (kind === 'data') data.push(range);
  }
  const layout = planLayout(source.size, data);
  const file = await openRawFile(path, { create: { size: layout.clusters * clusterBytes } });
  try {
    const device = new MappedDevice(file, layout);
    const result = await copyDevice(source, device, { targetIsZero: true, signal, onProgress });
    throwIfAborted(signal, `writing ${path}`);
    await writeTables(file, layout, device);
    await file.flush(); // the header last: without it the file is none
    await file.write(0, header(layout));
    await file.flush();
    return result;
  } finally {
    await file.close();
  }
}

function header({ size, l1, l1Entries, refcountTable }: Layout): Uint8Array {
  const bytes = Buffer.alloc(clusterBytes);
  bytes.writeUInt32BE(magic, 0);
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(Math.log2(clusterBytes), 20);
  bytes.writeBigUInt64BE(BigInt(size), 24);
  bytes.writeUInt32BE(l1Entries, 36);
  bytes.writeBigUInt64BE(BigInt(l1.offset * clusterBytes), 40);
  bytes.writeBigUInt64BE(BigInt(refcountTable.offset * clusterBytes), 48);
  bytes.writeUInt32BE(refcountTable.length, 56);
  bytes.writeUInt32BE(refcountOrder, 96);
  bytes.writeUInt32BE(headerBytes, 100); // and after it zeros: the end of the extensions
  return bytes;
}

async function writeTables(file: WritableDevice, layout: Layout, device: MappedDevice): Promise<void> {
  const { l1, l1Entries, l2, tables, refcountBlocks, refcountTable } = layout;
  const named = new Set<number>();
  let run = 0;
  for (const [index, table] of tables.entries()) {
    const first = table * entriesPerCluster;
    while (endOf(layout.runs[run]) <= first) run += 1;
    const bytes = l2Table(layout.runs, run, { first, device });
    if (bytes === undefined) continue; // all of it turned out to be zeros
    named.add(index);
    await file.write((l2.offset + index) * clusterBytes, bytes);
  }
  const top = Buffer.alloc(l1.length * clusterBytes);
  for (const [index, table] of tables.entries()) {
    if (named.has(index) && table < l1Entries) top.writeBigUInt64BE(entry(l2.offset + index), table * 8);
  }
  await file.write(l1.offset * clusterBytes, top);
  const isUsed = (cluster: number): boolean => {
    if (cluster < l2.offset) return true;
    const table = cluster - l2.offset;
    return table < l2.length ? named.has(table) : device.isUsed(cluster);
  };
  for (let index = 0; index < refcountBlocks.length; index += 1) {
    const bytes = refcountBlock(index, layout.clusters, isUsed);
    await file.write((refcountBlocks.offset + index) * clusterBytes, bytes);
  }
  const counts = Buffer.alloc(refcountTable.length * clusterBytes);
  for (let index = 0; index < refcountBlocks.length; index += 1) {
    counts.writeBigUInt64BE(BigInt((refcountBlocks.offset + index) * clusterBytes), index * 8);
  }
  await file.write(refcountTable.offset * clusterBytes, counts);
}

const entry = (cluster: number): bigint => copied | BigInt(cluster * clusterBytes);

const endOf = (run: Run | undefined): number => (run ? run.guest + run.count : Number.POSITIVE_INFINITY);

/** Of the clusters from `first` on, which lie in `runs` from `start` on; undefined when it names nothing. */
function l2Table(
  runs: readonly Run[],
  start: number,
  { first, device }: { first: number; device: MappedDevice },
): Buffer | undefined {
  const bytes = Buffer.alloc(clusterBytes);
  let isEmpty = true;
  for (let index = start; index < runs.length; index += 1) {
    const run = runs[index];
    if (!run) break;
    const { guest, host, count } = run;
    if (guest >= first + entriesPerCluster) break;
    const from = Math.max(guest, first);
    const end = Math.min(guest + count, first + entriesPerCluster);
    for (let cluster = from; cluster < end; cluster += 1) {
      const place = host + cluster - guest;
      if (!device.isUsed(place)) continue;
      bytes.writeBigUInt64BE(entry(place), (cluster - first) * 8);
      isEmpty = false;
    }
  }
  return isEmpty ? undefined : bytes;
}

function refcountBlock(index: number, clusters: number, isUsed: (cluster: number) => boolean): Buffer {
  const bytes = Buffer.alloc(clusterBytes);
  const first = index * (clusterBytes / 2);
  const end = Math.min(first + clusterBytes / 2, clusters);
  for (let cluster = first; cluster < end; cluster += 1) {
    if (isUsed(cluster)) bytes.writeUInt16BE(1, (cluster - first) * 2);
  }
  return bytes;
}
