/** Checks: that everything is there and fits together, and on demand that every byte is as it was written. */
import { createHash } from 'node:crypto';
import { PrimaError, type ProgressListener, throwIfAborted, toPrimaError } from '@prima/base';
import { type Context, hexOf, idFromHex } from '../context.ts';
import type { CheckFault, CheckReport, Point, PointDisk } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import {
  type PackEntry,
  packKey,
  packTrailerBytes,
  parsePackDirectory,
  parsePackKey,
  parsePackTrailer,
} from '../format/pack.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { IdSet } from '../index/id-table.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';
import { ChunkPool } from '../pool/chunk-pool.ts';
import type { LogEntry } from '../session/root-log.ts';
import {
  type CommittedSession,
  listSessions,
  lockStates,
  readOutcome,
  unlessGone,
  verifyForgotten,
} from '../session/sessions.ts';
import { checkKeySlots } from './key-slots.ts';
import { compareLog, trulyMissing } from './survey.ts';

export interface CheckOptions {
  readData: boolean;
  acceptHead?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** Faults are collected up to this many; a repository with more is beyond counting. */
const maxFaults = 10_000;

/** A collection may take away what is being checked; then all is looked at again, this often at most. */
const maxRuns = 3;

export async function check(context: Context, options: CheckOptions): Promise<CheckReport> {
  for (let run = 1; ; run += 1) {
    const before = await segmentKeys(context);
    const report = await new Check(context, options).run();
    if (report.faults.length === 0 || run === maxRuns) return report;
    const after = await segmentKeys(context);
    if (before.isSubsetOf(after)) return report;
    context.logger.info('a collection ran during the check, which therefore begins again');
  }
}

/** Segments vanish only in collections, and before anything else that counts does. */
async function segmentKeys(context: Context): Promise<Set<string>> {
  const keys = new Set<string>();
  for await (const { key } of context.store.list('index/')) keys.add(key);
  return keys;
}

class Check {
  readonly #context: Context;
  readonly #options: CheckOptions;
  readonly #faults: CheckFault[] = [];
  readonly #leftovers: string[] = [];
  /** Ids of blobs that cannot be read, and the fault that says why. */
  readonly #lost = new Map<string, CheckFault>();
  #bytesRead = 0;

  constructor(context: Context, options: CheckOptions) {
    this.#context = context;
    this.#options = options;
  }

  async run(): Promise<CheckReport> {
    this.#faults.push(...(await checkKeySlots(this.#context)));
    const points = await this.#points();
    const index = await RepositoryIndex.load(this.#context);
    await this.#packs(index);
    await this.#reach(index, points);
    await this.#name(index, points);
    return {
      points: points.length,
      packs: index.packs.length,
      blobs: index.size,
      bytesRead: this.#bytesRead,
      faults: this.#faults,
      leftovers: this.#leftovers,
    };
  }

  /** Reads every outcome and holds them against the log. */
  async #points(): Promise<Point[]> {
    const log = await this.#readLog(); // before the points: whoever logs one has committed it
    const committed: CommittedSession[] = [];
    const listed = await listSessions(this.#context);
    const stateOf = lockStates(this.#context, listed);
    for (const entry of listed) {
      const { id, hasOutcome } = entry;
      if (!hasOutcome) {
        this.#leftovers.push(`session ${id} has not ended (a running backup or reader, or one that died)`);
        continue;
      }
      try {
        const read = await unlessGone(readOutcome(this.#context, id));
        if (read?.outcome.state === 'committed' && read.outcome.point) committed.push(stateOf(entry, read));
      } catch (error) {
        this.#fault('damaged-outcome', `sessions/${id}/outcome`, error);
      }
    }
    await this.#compareLog(log, committed);
    return committed.filter((c) => !c.isForgotten).flatMap((c) => (c.outcome.point ? [c.outcome.point] : []));
  }

  async #readLog(): Promise<LogEntry[] | undefined> {
    try {
      const { log } = this.#context;
      if (this.#options.acceptHead) await log.accept();
      const { entries, fault } = await log.readAll();
      if (fault !== undefined) this.#fault('rolled-back', 'log/', fault);
      return entries;
    } catch (error) {
      this.#fault('log-gap', 'log/', error);
      return undefined;
    }
  }

  async #compareLog(entries: LogEntry[] | undefined, committed: readonly CommittedSession[]): Promise<void> {
    if (entries === undefined) return;
    try {
      const { changed, unlogged, ...compared } = compareLog(entries, committed);
      const missing = await trulyMissing(this.#context, compared.missing);
      for (const { id } of unlogged) {
        this.#leftovers.push(
          `the log of roots lacks point ${id} (its writer died, or the log was cut); the next collection adds it`,
        );
      }
      for (const id of missing) {
        if (this.#faults.some((fault) => fault.object.includes(id))) continue;
        this.#fault(
          'missing-point',
          `sessions/${id}/outcome`,
          'the log of roots knows this restore point, but it is not there',
        );
      }
      for (const { id } of compared.unloggedForgets) await this.#checkForgotten(id);
      for (const id of changed) {
        this.#fault(
          'changed-point',
          `sessions/${id}/outcome`,
          'the restore point is not the one that the log of roots names',
        );
      }
    } catch (error) {
      this.#fault('log-gap', 'log/', error);
    }
  }

  /** A mark that the log does not know may be of a writer that died before it wrote to the log, or forged. */
  async #checkForgotten(id: string): Promise<void> {
    try {
      await unlessGone(verifyForgotten(this.#context, id));
    } catch (error) {
      this.#fault('forged-forget', `sessions/${id}/forgotten`, error);
    }
  }

  /** Every pack of the index is there, has its size and, on demand, its bytes. */
  async #packs(index: RepositoryIndex): Promise<void> {
    const listed = new Map<string, number>();
    for await (const { key, size } of this.#context.store.list('packs/')) {
      const pack = parsePackKey(key);
      if (pack) listed.set(pack.name, size);
      if (pack && !index.hasPack(pack.name)) this.#leftovers.push(`${key} belongs to no finished session`);
    }
    const total = index.packs.reduce((sum, pack) => sum + pack.size, 0);
    const pool = this.#options.readData
      ? new ChunkPool({
          keys: this.#context.keys,
          chunkSize: this.#context.chunkSize,
          ...(this.#context.workers === undefined ? {} : { workers: this.#context.workers }),
        })
      : undefined;
    try {
      for (const pack of index.packs) {
        throwIfAborted(this.#options.signal, 'checking the repository');
        const key = packKey(pack.kind, pack.name);
        const size = listed.get(pack.name);
        if (size === undefined) this.#fault('missing-pack', key, 'the pack is not there');
        else if (size !== pack.size)
          this.#fault('damaged-pack', key, `the pack has ${size} bytes, wanted ${pack.size}`);
        if (pool && size !== undefined) await this.#readPack(key, pack.name, pool);
        this.#options.onProgress?.({
          phase: 'checking packs',
          done: this.#bytesRead,
          ...(pool ? { total } : {}),
        });
      }
    } finally {
      await pool?.close();
    }
    await this.#lostWith(index, listed);
  }

  /** Reads a pack to the end: its name, its directory, and each blob in it. */
  async #readPack(key: string, name: string, pool: ChunkPool): Promise<void> {
    let bytes: Uint8Array;
    let entries: PackEntry[];
    try {
      bytes = await this.#context.store.get(key);
      this.#bytesRead += bytes.length;
      const found = createHash('sha256').update(bytes).digest('hex');
      if (found !== name) this.#fault('damaged-pack', key, 'the pack is not what its name says');
      const trailer = parsePackTrailer(bytes.subarray(-packTrailerBytes), bytes.length, key);
      entries = parsePackDirectory(
        bytes.subarray(trailer.offset, trailer.offset + trailer.length),
        trailer,
        key,
      );
    } catch (error) {
      this.#fault('damaged-pack', key, error);
      return;
    }
    await Promise.all(entries.map((entry) => this.#readBlob(entry, bytes, { key, pool })));
  }

  async #readBlob(
    entry: PackEntry,
    pack: Uint8Array,
    { key, pool }: { key: string; pool: ChunkPool },
  ): Promise<void> {
    const { id, type, offset, length, plainLength } = entry;
    const where = `${key} at ${offset}`;
    const slot = await pool.slot();
    try {
      const blob = pack.subarray(offset, offset + length);
      const fits = plainLength <= slot.bytes.length;
      await this.#context.keyring.learnEpochOf(blob);
      if (type !== blobType.chunk || !fits) this.#context.opener.open(blob, { type, id }, where);
      else await pool.open(blob, { type, id, into: slot.bytes.subarray(0, plainLength), where });
    } catch (error) {
      this.#lost.set(hexOf(id), this.#fault('damaged-blob', where, error));
    } finally {
      slot.release();
    }
  }

  /** Blobs of packs that are gone or cut are lost with them. */
  async #lostWith(index: RepositoryIndex, listed: ReadonlyMap<string, number>): Promise<void> {
    const gone = new Map(
      index.packs
        .filter((pack) => listed.get(pack.name) !== pack.size)
        .map((pack) => [pack.name, this.#faults.find((fault) => fault.object.endsWith(pack.name))]),
    );
    this.#isGone = (id) => {
      const place = index.find(id);
      return place ? gone.get(place.in.name) : undefined;
    };
  }

  #isGone: (id: Uint8Array) => CheckFault | undefined = () => undefined;

  /** Every page and chunk of every point is in the index; pages are read on the way. */
  async #reach(index: RepositoryIndex, points: readonly Point[]): Promise<void> {
    const tree = new PageTree(this.#context, new BlobReader(this.#context, index));
    const seen = new IdSet(index.size);
    const visit = (id: Uint8Array): boolean => {
      if (!seen.add(id)) return false;
      const hex = hexOf(id);
      if (!index.find(id)) this.#lost.set(hex, this.#fault('missing-chunk', hex, 'no pack holds this chunk'));
      return true;
    };
    for (const point of points) {
      for (const file of point.files) for (const id of file.ids) visit(idFromHex(id));
      for (const disk of disksOf(point)) {
        throwIfAborted(this.#options.signal, 'checking the repository');
        await tree.walk(disk.root, disk.size, {
          page: visit,
          chunk: (id) => void visit(id),
          onError: (error, _range, id) => {
            if (!this.#lost.has(hexOf(id)))
              this.#lost.set(hexOf(id), this.#fault('damaged-page', hexOf(id), error));
          },
        });
      }
    }
  }

  /** Says for each fault which points, disks and ranges it takes away. */
  async #name(index: RepositoryIndex, points: readonly Point[]): Promise<void> {
    if (this.#faults.length === 0) return;
    const tree = new PageTree(this.#context, new BlobReader(this.#context, index));
    for (const point of points) {
      for (const disk of disksOf(point)) {
        const hit = (id: Uint8Array, offset: number, length: number) => {
          const fault = this.#lost.get(hexOf(id)) ?? this.#isGone(id);
          if (!fault || fault.affected.length >= maxFaults) return;
          const last = fault.affected.at(-1);
          const follows =
            last?.point === point.id && last.disk === disk.name && last.offset + last.length === offset;
          if (last && follows) last.length += length;
          else
            fault.affected.push({
              point: point.id,
              machine: point.machine.name,
              disk: disk.name,
              offset,
              length,
            });
        };
        await tree.walk(disk.root, disk.size, {
          page: () => true,
          chunk: (id, range) => hit(id, range.offset, range.length),
          onError: (_error, range, id) => hit(id, range.offset, range.length),
        });
      }
    }
  }

  #fault(kind: string, object: string, cause: unknown): CheckFault {
    const message = typeof cause === 'string' ? cause : toPrimaError(cause, 'checking').message;
    const fault: CheckFault = { kind, object, message, affected: [] };
    if (this.#faults.length >= maxFaults)
      throw new PrimaError('integrity', `more than ${maxFaults} faults; the last: ${message}`);
    this.#faults.push(fault);
    return fault;
  }
}

function disksOf(point: Point): PointDisk[] {
  return point.memory ? [...point.disks, point.memory] : point.disks;
}
