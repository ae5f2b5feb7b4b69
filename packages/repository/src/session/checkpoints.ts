/**
 * Checkpoints of a long backup: what it has stored so far is made to stand, so that a backup that is interrupted does
 * not begin from nothing. See "Checkpoints of long backups" of the format; the order of the steps is what makes it safe.
 */
import { Mutex, toPrimaError } from '@prima/base';
import type { Context } from '../context.ts';
import { type PackSink, type SunkPack, writePackSegments } from './pack-sink.ts';
import {
  beginSession,
  type CommittedSession,
  decide,
  endSession,
  markForgotten,
  outcomeKey,
} from './sessions.ts';

export interface CheckpointParts {
  context: Context;
  sink: PackSink;
  /** The backup session. */
  parent: string;
  /** The machine that is backed up: its next backup releases what an interrupted one left. */
  machine: string | undefined;
  /** Stored bytes after which a checkpoint is made. */
  everyBytes: number;
}

export class Checkpoints {
  readonly #parts: CheckpointParts;
  readonly #turn = new Mutex();
  readonly #made: string[] = [];
  #since = 0;
  #isEnding = false;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  /** Checkpoints of this session that stand for certain. */
  get made(): readonly string[] {
    return this.#made;
  }

  /** Counts what was stored; makes a checkpoint beside the backup when it is time. */
  count(bytes: number): void {
    this.#since += bytes;
    if (this.#since < this.#parts.everyBytes || this.#isEnding) return;
    this.#since = 0;
    void this.#turn.run(() => this.#make());
  }

  /** Makes no more; waits for the one under way. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#turn.run(async () => undefined);
  }

  /**
   * Releases this session's checkpoints, and those of earlier backups of the machine: after its commit, whose point reaches
   * what it needs of them. What cannot be released now is released by its age.
   */
  async release(earlier: readonly CommittedSession[]): Promise<void> {
    const { context, machine } = this.#parts;
    const old = earlier.filter(
      ({ outcome }) => machine !== undefined && outcome.checkpoint?.machine === machine,
    );
    for (const session of [...this.#made, ...old.map(({ id }) => id)]) {
      try {
        await markForgotten(context, session);
      } catch (error) {
        const { message } = toPrimaError(error, 'releasing a checkpoint');
        context.logger.warn(`${message}; a collection releases it later`);
      }
    }
  }

  /** A checkpoint that fails costs nothing: its packs are named by the session's own segments in the end. */
  async #make(): Promise<void> {
    const { context, sink, parent } = this.#parts;
    const packs = this.#isEnding ? [] : sink.takeStored();
    if (packs.length === 0) return;
    let session: string | undefined;
    try {
      session = await beginSession(context, 'checkpoint', { parent });
      if (await context.store.stat(outcomeKey(parent))) {
        await endSession(context, session);
        sink.putBack(packs, false);
        return;
      }
      await writePackSegments(context, session, packs);
      await this.#conclude(session, packs, 'committed');
    } catch (error) {
      const { message } = toPrimaError(error, 'making a checkpoint of the backup');
      context.logger.warn(`${message}; the backup goes on without it`);
      await this.#giveUp(session, packs);
    }
  }

  /** Decides the checkpoint, or finds out how it was decided, and puts the packs where they belong then. */
  async #conclude(session: string, packs: SunkPack[], state: 'committed' | 'aborted'): Promise<void> {
    const { context, sink, parent, machine } = this.#parts;
    const bytes = packs.reduce((sum, { size }) => sum + size, 0);
    const checkpoint = { parent, ...(machine === undefined ? {} : { machine }), bytes };
    const { outcome } = await decide(context, {
      session,
      state,
      kind: 'checkpoint',
      time: new Date(context.clock.now()).toISOString(),
      ...(state === 'committed' ? { checkpoint } : { why: 'it could not be written' }),
    });
    if (outcome.state === 'committed') this.#made.push(session);
    else sink.putBack(packs, false); // no segment of it will ever count
  }

  /** When not even that can be found out, the packs count as ours, and as somebody else's too. */
  async #giveUp(session: string | undefined, packs: SunkPack[]): Promise<void> {
    const { context, sink } = this.#parts;
    try {
      if (session === undefined) sink.putBack(packs, false);
      else await this.#conclude(session, packs, 'aborted');
    } catch (error) {
      sink.putBack(packs, true);
      context.logger.debug(toPrimaError(error, `deciding the checkpoint ${session}`).message);
    }
  }
}
