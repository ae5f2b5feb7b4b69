/** Tells people what needs them, through the channels of their organisation. */
import { type Clock, type Logger, toPrimaError } from '@prima/base';
import type { Sealer } from '../accounts/sealing.ts';
import type { State } from '../state/database.ts';
import type { Tenants } from '../service/tenants.ts';
import { type ChannelRow, Channels } from './channels.ts';
import { tellChanges } from './conditions.ts';
import { sendDigests } from './digest.ts';
import { type Happening, Happenings } from './happenings.ts';
import { lookAt } from './look.ts';
import { Outbox, sendTest } from './outbox.ts';

export interface NotificationTimes {
  /** Between looks at what is due. Default 5 s. */
  everyMs?: number;
  /** Between looks at how machines and repositories stand. Default one minute. */
  lookMs?: number;
  /** How long the first of several happenings waits for the others. Default one minute. */
  gatherMs?: number;
  /** Before the second attempt to deliver. Default 10 s. */
  pauseMs?: number;
}

export interface NotificationsParts {
  state: State;
  tenants: Tenants;
  clock: Clock;
  logger: Logger;
  sealer: Sealer;
  times?: NotificationTimes | undefined;
}

export class Notifications {
  readonly channels: Channels;
  readonly #parts: NotificationsParts;
  readonly #outbox: Outbox;
  readonly #happenings: Happenings;
  readonly #end = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: NotificationsParts) {
    this.#parts = parts;
    const { gatherMs = 60_000, pauseMs = 10_000 } = parts.times ?? {};
    const { db } = parts.state;
    this.channels = new Channels({ ...parts, db });
    this.#outbox = new Outbox({ ...parts, db, channels: this.channels, pauseMs });
    this.#happenings = new Happenings({ ...parts, db, outbox: this.#outbox, gatherMs });
  }

  start(): void {
    this.#loop = this.#run();
  }

  async close(): Promise<void> {
    this.#end.abort(new Error('the server ends'));
    await this.#loop;
  }

  /** Never raises: what happened stands, whether it can be told or not. */
  async raise(happening: Happening): Promise<void> {
    await this.#quietly('noting what people are told', () => this.#happenings.raise(happening));
  }

  /** Now. Raises `remote`, `timeout`, `forbidden`. */
  async test(channel: ChannelRow): Promise<void> {
    await sendTest(
      { ...this.#parts, db: this.#parts.state.db, channels: this.channels },
      channel,
      this.#end.signal,
    );
  }

  async #run(): Promise<void> {
    const { clock, times } = this.#parts;
    const { signal } = this.#end;
    const { everyMs = 5000, lookMs = 60_000 } = times ?? {};
    let looked: number | undefined;
    while (!signal.aborted) {
      if (looked === undefined || clock.monotonic() - looked >= lookMs) {
        looked = clock.monotonic();
        await this.#quietly('looking at how things stand', () => this.#look());
      }
      await this.#quietly('gathering what people are told', () => this.#happenings.gather());
      await this.#quietly('telling people', () => this.#outbox.deliver(signal));
      await clock.sleep(everyMs, signal).catch(() => undefined); // aborted: it ends
    }
  }

  async #look(): Promise<void> {
    const { state, clock } = this.#parts;
    const parts = { db: state.db, clock, happenings: this.#happenings };
    for (const { id } of await state.db.selectFrom('organisation').select('id').execute())
      await tellChanges(parts, id, await lookAt(this.#parts, id));
    await sendDigests(this.#parts, this.#outbox);
  }

  async #quietly(what: string, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.#parts.logger.warn(toPrimaError(error, what).message);
    }
  }
}
