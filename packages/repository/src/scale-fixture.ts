/**
 * For benchmarks: the index and the pages of a repository with a disk far larger than this machine's, made by the code that
 * backups use. Only the chunks are missing: their ids are random and their packs are not there.
 */
import { randomFillSync } from 'node:crypto';
import { MiB } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import type { Context } from './context.ts';
import { contextForTest } from './context-fixture.ts';
import type { Secret } from './contract.ts';
import type { Point } from './point.ts';
import { blobOverheadBytes, blobType } from './format/blob.ts';
import { pageFanout, type PageRef, writePage } from './format/page.ts';
import { RepositoryIndex } from './index/repository-index.ts';
import { storeRefs, storeTree } from './manifest/page-writer.ts';
import { PackSink, type SunkPack, writePackSegments } from './session/pack-sink.ts';
import { beginSession, decide } from './session/sessions.ts';

const packBytes = 32 * MiB;
/** Chunks in a pack, of half their size when compressed. */
const chunksPerPack = 64;
/** Packs whose entries fill about one segment. */
const packsPerSegment = 1023;

/** Makes a point of one disk of `size` bytes, all of it unique data, in an empty repository. */
export async function makeHugePoint(store: ObjectStore, secret: Secret, size: number): Promise<Point> {
  const context = await contextForTest(store, secret, packBytes);
  const session = await beginSession(context, 'backup');
  const leaves: PageRef[] = [];
  const sink = new PackSink(context, session);
  const storePage = async (page: Parameters<typeof writePage>[0]) =>
    (await sink.addMetaOnce(blobType.page, writePage(page), () => false)).id;
  const chunks = Math.ceil(size / context.chunkSize);
  let packs: SunkPack[] = [];
  let refs: PageRef[] = [];
  let part = 0;
  for (let chunk = 0; chunk < chunks; chunk += chunksPerPack) {
    const pack = randomPack(context.chunkSize);
    packs.push(pack);
    for (let i = 0; i < chunksPerPack; i += 1) {
      refs.push({ id: pack.ids.subarray(i * 32, i * 32 + 32), length: context.chunkSize });
    }
    if (refs.length === pageFanout) {
      leaves.push(await storeRefs(0, refs, storePage));
      refs = [];
    }
    if (packs.length < packsPerSegment && chunk + chunksPerPack < chunks) continue;
    // sessions of one segment each: what a session keeps in memory until its end is not what is measured
    await commitPart(context, packs);
    packs = [];
    part += 1;
  }
  if (refs.length > 0) leaves.push(await storeRefs(0, refs, storePage));
  const root = await storeTree(leaves, size, context.chunkSize, storePage);
  await sink.finish();
  return await commitPoint(context, session, { size, root, parts: part });
}

/** Reads the whole index, as every backup, restore and collection begins. */
export async function openIndex(store: ObjectStore, secret: Secret): Promise<RepositoryIndex> {
  return await RepositoryIndex.load(await contextForTest(store, secret, packBytes));
}

function randomPack(chunkSize: number): SunkPack {
  const ids = randomFillSync(new Uint8Array(chunksPerPack * 32));
  const places = new Uint32Array(chunksPerPack * 2);
  const length = chunkSize / 2 + blobOverheadBytes;
  for (let i = 0; i < chunksPerPack; i += 1) places.set([8 + i * length, length], i * 2);
  const name = Buffer.from(randomFillSync(new Uint8Array(32))).toString('hex');
  return { name, kind: 'data', size: 8 + chunksPerPack * (length + 48) + 32, ids, places };
}

async function commitPart(context: Context, packs: readonly SunkPack[]): Promise<void> {
  const session = await beginSession(context, 'backup');
  await writePackSegments(context, session, packs);
  const time = new Date(context.clock.now()).toISOString();
  await decide(context, { session, state: 'committed', kind: 'backup', time });
}

async function commitPoint(
  context: Context,
  session: string,
  disk: { size: number; root: Point['disks'][number]['root']; parts: number },
): Promise<Point> {
  const time = new Date(context.clock.now()).toISOString();
  const { size, root, parts } = disk;
  const figures = { read: size, data: size, added: size, stored: size / 2, sampled: 0 };
  const point: Point = {
    id: session,
    machine: { id: 'huge', name: 'huge' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size, root, changed: 'all', figures }],
    skipped: [],
    files: [],
    tags: [],
    notes: [`made of ${parts} parts`],
    warnings: [],
  };
  const outcome = { session, state: 'committed' as const, kind: 'backup' as const, time, point };
  const { digest } = await decide(context, outcome);
  if (digest !== undefined) await context.log.append({ event: 'committed', session, outcome: digest });
  return point;
}
