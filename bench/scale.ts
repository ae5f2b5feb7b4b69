/**
 * What a repository of very many chunks costs to open, to look into and to go through. Index and pages are real, the
 * chunks are not there; see makeHugePoint.
 */
import { randomFillSync } from 'node:crypto';
import { join } from 'node:path';
import { type Logger, TiB } from '@prima/base';
import { createRepository, openRepository, type Secret } from '@prima/repository';
import { countingStore, openLocalStore } from '@prima/storage';
// not part of the package's contract: the index as backups open it
import { makeHugePoint, openIndex } from '../packages/repository/src/scale-fixture.ts';

export interface ScaleResult {
  tebibytes: number;
  /** Distinct blobs in the index. */
  blobs: number;
  openSeconds: number;
  /** Of the index's table. */
  indexBytes: number;
  /** The most that the process had in memory after opening. */
  residentBytes: number;
  /** Of ids that are there and as many that are not. */
  lookupsPerSecond: number;
  /** Seconds to open the disk and list the extents of a gibibyte in its middle, and what that asked of the store. */
  extentsSeconds: number;
  extentsRequests: number;
  /** Bytes of index and pages in the store. */
  metadataBytes: number;
}

const lookups = 1_000_000;

export async function benchScale(folder: string, tebibytes: number, log: Logger): Promise<ScaleResult> {
  const secret: Secret = { kind: 'passphrase', text: 'scale' };
  const plain = await openLocalStore(join(folder, 'repository'), { create: true });
  await (await createRepository(plain, { secret })).close();
  log.info(`making the index and the pages of ${tebibytes} TiB`);
  const point = await makeHugePoint(plain, secret, tebibytes * TiB);
  let metadataBytes = 0;
  for await (const { size } of plain.list('')) metadataBytes += size;

  const opening = performance.now();
  const index = await openIndex(plain, secret);
  const openSeconds = (performance.now() - opening) / 1000;
  const { size: blobs, bytes: indexBytes } = index;
  const residentBytes = process.memoryUsage().rss;

  const ids = randomFillSync(new Uint8Array(lookups * 32));
  const looking = performance.now();
  for (let at = 0; at < ids.length; at += 32) index.find(ids.subarray(at, at + 32));
  const lookupsPerSecond = lookups / ((performance.now() - looking) / 1000);

  const store = countingStore(plain);
  const repository = await openRepository(store, secret);
  await (await repository.openDisk(point, 'disk0')).close(); // reads the index
  const before = store.counts.get + store.counts.put + store.counts.list + store.counts.stat;
  const listing = performance.now();
  const disk = await repository.openDisk(point, 'disk0');
  const middle = Math.floor((tebibytes * TiB) / 2 ** 31) * 2 ** 30;
  for await (const extent of disk.extents({ offset: middle, length: 2 ** 30 })) log.debug(extent.kind);
  await disk.close();
  const extentsSeconds = (performance.now() - listing) / 1000;
  const { get, put, list, stat } = store.counts;
  const extentsRequests = get + put + list + stat - before;
  await repository.close();
  return {
    tebibytes,
    blobs,
    openSeconds,
    indexBytes,
    residentBytes,
    lookupsPerSecond,
    extentsSeconds,
    extentsRequests,
    metadataBytes,
  };
}
