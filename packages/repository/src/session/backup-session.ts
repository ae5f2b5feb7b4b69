/** One backup being written: the writer's side of "Sessions" in the format. */
import { assert, formatBytes, GiB, Mutex, PrimaError, throwIfAborted, toPrimaError } from '@prima/base';
import { type Context, hexOf } from '../context.ts';
import type { WriteDiskRequest, WriteDiskResult, WriteSession } from '../contract.ts';
import type { Point, PointFile } from '../point.ts';
import { recordDamage } from '../damage/lists.ts';
import { blobType } from '../format/blob.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';
import { ChunkPool } from '../pool/chunk-pool.ts';
import { Checkpoints } from './checkpoints.ts';
import { DiskWriter } from './disk-writer.ts';
import { PackSink } from './pack-sink.ts';
import { checkedLockEnd } from './locks.ts';
import { refusal } from './root-log.ts';
import { retainContents, retainMending, retainRecords } from './retaining.ts';
import { beginSession, decide, startBeats } from './sessions.ts';

export interface BackupSessionOptions {
  readBack: boolean;
  /** The id of the machine, if it is known: see `Repository.beginBackup`. */
  machine?: string | undefined;
  checkpointBytes?: number | undefined;
  /** Ends it, in the midst of storing packs, too, while no outcome of it may stand. */
  signal?: AbortSignal | undefined;
}

const defaultCheckpointBytes = 8 * GiB;

export class BackupSession implements WriteSession {
  readonly id: string;
  readonly #context: Context;
  readonly #sink: PackSink;
  readonly #pool: ChunkPool;
  readonly #index: RepositoryIndex;
  readonly #tree: PageTree;
  readonly #turn = new Mutex();
  readonly #stopBeats: () => Promise<void>;
  readonly #checkpoints: Checkpoints;
  readonly #signal: AbortSignal | undefined;
  /** About the repository; they go into the point. */
  readonly #warnings: readonly string[];
  #state: 'open' | 'committed' | 'aborted' = 'open';
  /** True from the moment at which an outcome of ours may stand, whatever the store answered. */
  #mayStand = false;

  private constructor(
    context: Context,
    id: string,
    { index, warnings, ...options }: BackupSessionOptions & { index: RepositoryIndex; warnings: string[] },
  ) {
    this.#context = context;
    this.id = id;
    this.#warnings = warnings;
    this.#signal = options.signal;
    this.#index = index;
    this.#tree = new PageTree(context, new BlobReader(context, index));
    this.#sink = new PackSink(context, id, {
      signal: options.signal,
      onStored: (bytes) => this.#checkpoints.count(bytes),
      onFailure: (error) => this.#pool.fail(toPrimaError(error, `writing to ${context.store.url}`)),
    });
    this.#pool = new ChunkPool({
      keys: context.keys,
      chunkSize: context.chunkSize,
      reserve: context.threads,
      ...(context.workers === undefined ? {} : { workers: context.workers }),
      sealing: {
        packBytes: context.packBytes,
        readBack: options.readBack,
        onPack: (pack) => this.#sink.take(pack),
      },
    });
    this.#checkpoints = new Checkpoints({
      context,
      sink: this.#sink,
      parent: id,
      machine: options.machine,
      everyBytes: options.checkpointBytes ?? defaultCheckpointBytes,
    });
    this.#stopBeats = startBeats(context, id);
    this.#tellOfInterrupted(options.machine);
  }

  /** Creates the marker, then reads the index: in this order, always. */
  static async begin(context: Context, options: BackupSessionOptions): Promise<BackupSession> {
    const warnings = await prepare(context);
    const id = await beginSession(context, 'backup');
    try {
      const index = await RepositoryIndex.load(context);
      return new BackupSession(context, id, { ...options, index, warnings });
    } catch (error) {
      await decide(context, abortedBackup(context, id, 'could not read the index'));
      throw error;
    }
  }

  async writeDisk(request: WriteDiskRequest): Promise<WriteDiskResult> {
    return await this.#turn.run(async () => {
      this.#assertOpen();
      const parts = {
        context: this.#context,
        pool: this.#pool,
        sink: this.#sink,
        index: this.#index,
        tree: this.#tree,
      };
      return await new DiskWriter(parts, request).write();
    });
  }

  async writeFile(name: string, bytes: Uint8Array): Promise<PointFile> {
    return await this.#turn.run(async () => {
      this.#assertOpen();
      const ids: string[] = [];
      for (let at = 0; at < bytes.length; at += this.#context.chunkSize) {
        const part = bytes.subarray(at, at + this.#context.chunkSize);
        const { id } = await this.#sink.addMetaOnce(blobType.file, part, (known) =>
          this.#index.mayShare(known),
        );
        ids.push(hexOf(id));
      }
      return { name, length: bytes.length, ids };
    });
  }

  async commit(point: Omit<Point, 'id'>): Promise<Point> {
    return await this.#turn.run(async () => {
      this.#assertOpen();
      await this.#pool.flush();
      await this.#checkpoints.end();
      await this.#sink.finish();
      const warnings = [...point.warnings, ...this.#warnings];
      const whole = await this.#locked({ id: this.id, ...point, warnings });
      const time = new Date(this.#context.clock.now()).toISOString();
      const mine = {
        session: this.id,
        state: 'committed' as const,
        kind: 'backup' as const,
        time,
        point: whole,
      };
      const mendsUntil = await this.#retainMending();
      await this.#context.keyring.refresh(); // what an old signer commits is not believed
      throwIfAborted(this.#signal, 'committing a backup');
      this.#mayStand = true;
      const { outcome, digest } = await decide(this.#context, mine);
      if (digest === undefined) {
        this.#state = 'aborted';
        const why = outcome.why ?? 'no reason given';
        throw new PrimaError(
          'refused',
          `a collection gave up on this backup before it ended (${why}); nothing was lost, run it again`,
        );
      }
      this.#state = 'committed';
      await this.#end();
      await this.#log(digest, whole);
      await this.#retainMended(mendsUntil);
      await this.#checkpoints.release(this.#index.checkpoints);
      return whole;
    });
  }

  /** The point with the lock that the caller wants, or the repository's when that one is longer; kept by the store, too. */
  async #locked(point: Point): Promise<Point> {
    const { lockMs, clock } = this.#context;
    const own = lockMs === undefined ? 0 : clock.now() + lockMs;
    const wanted = point.lockedUntil === undefined ? own : Math.max(own, Date.parse(point.lockedUntil));
    if (wanted === 0) return point;
    const until = checkedLockEnd(this.#context, wanted);
    const retained = await retainContents(this.#context, point, until, { session: this.id });
    return {
      ...point,
      lockedUntil: new Date(until).toISOString(),
      ...(retained !== undefined && { retainedUntil: new Date(retained).toISOString() }),
    };
  }

  /** Until when the store was asked to keep what this session stored because older points have lost it; 0: not at all. */
  async #retainMending(): Promise<number> {
    if (!this.#index.mayHaveLost()) return 0;
    return await retainMending(this.#context, [this.id, ...this.#checkpoints.made], this.#sink.keys);
  }

  async #retainMended(until: number): Promise<void> {
    if (until === 0) return;
    try {
      await retainRecords(this.#context, this.id, until);
    } catch (error) {
      const { message } = toPrimaError(error, 'locking in the store');
      this.#context.logger.warn(
        `what this backup mended for locked points is kept by the store, the record of it is not: ${message}`,
      );
    }
  }

  async abort(why: string): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'aborted';
    await this.#end();
    // what takes room goes first, where it can: the store may be too full for the outcome
    if (!this.#mayStand) await this.#discard();
    const { outcome } = await decide(this.#context, abortedBackup(this.#context, this.id, why));
    if (this.#mayStand && outcome.state === 'aborted') await this.#discard();
  }

  /** Takes back what was stored for a point that will never be; a collection would do it later. */
  async #discard(): Promise<void> {
    const { store, logger } = this.#context;
    try {
      for await (const { key } of store.list(`index/${this.id}-`)) await store.delete(key);
      await this.#sink.discard();
    } catch (error) {
      const { message } = toPrimaError(error, 'removing what an aborted backup stored');
      logger.warn(`${message}; the next collection removes it`);
    }
  }

  #tellOfInterrupted(machine: string | undefined): void {
    const own = this.#index.checkpoints.filter(
      ({ outcome }) => machine !== undefined && outcome.checkpoint?.machine === machine,
    );
    if (own.length === 0) return;
    const bytes = own.reduce((sum, { outcome }) => sum + (outcome.checkpoint?.bytes ?? 0), 0);
    this.#context.logger.info(
      `an earlier backup of this machine was interrupted; the ${formatBytes(bytes)} that it stored are not stored again`,
    );
  }

  /** The point stands without its log entry; the next collection adds one that could not be written. */
  async #log(outcome: string, { lockedUntil }: Point): Promise<void> {
    let key: string | undefined;
    try {
      key = await this.#context.log.append({ event: 'committed', session: this.id, outcome });
    } catch (error) {
      const { message } = toPrimaError(error, 'writing the log of roots');
      this.#context.logger.warn(`the restore point is committed, but its log entry is not: ${message}`);
    }
    if (lockedUntil === undefined) return;
    try {
      await retainRecords(this.#context, this.id, Date.parse(lockedUntil), key === undefined ? [] : [key]);
    } catch (error) {
      const { message } = toPrimaError(error, 'locking in the store');
      this.#context.logger.error(
        `the restore point is committed and its data is locked in the store, but the record of it is not (${message}); lock it again: prima lock ${this.id.slice(0, 12)} --until ${lockedUntil}`,
      );
    }
  }

  async #end(): Promise<void> {
    await this.#stopBeats();
    await this.#checkpoints.end();
    await this.#pool.close();
    await this.#sink.drain();
    await recordDamage(this.#context, 'backup');
  }

  #assertOpen(): void {
    assert(this.#state === 'open', 'a session is used before it ends');
    this.#sink.throwIfFailed();
  }
}

/**
 * Before a backup: the newest keys, and a look at the log, of which the entry of this backup will be the continuation.
 * Raises `refused` where only reading is allowed or where the keys went back; what else is wrong is a warning.
 */
async function prepare(context: Context): Promise<string[]> {
  const doing = 'beginning a backup';
  context.keyring.signer(doing);
  await context.keyring.refresh();
  const fault = await context.log.inspect();
  if (fault === undefined) return [];
  if (context.log.isKeySetOlder) throw refusal(doing, fault);
  const warning = `${fault}; find out why, older points may be missing: prima check`;
  context.logger.warn(warning);
  return [warning];
}

function abortedBackup(context: Context, session: string, why: string) {
  const time = new Date(context.clock.now()).toISOString();
  return { session, state: 'aborted' as const, kind: 'backup' as const, time, why };
}
