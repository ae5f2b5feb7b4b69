/** Tells people what needs them, through the channels of their organisation. */
import { type Clock, type Logger, toPrimaError } from '@prima/base';
import type { Sealer } from '../accounts/sealing.ts';
import type { State } from '../state/database.ts';
import { type ChannelRow, Channels } from './channels.ts';
import { type Happening, Happenings } from './happenings.ts';
import { Outbox, sendTest } from './outbox.ts';

export interface NotificationTimes {
  /** Between looks at what is due. Default 5 s. */
  everyMs?: number;
  /** How long the first of several happenings waits for the others. Default one minute. */
  gatherMs?: number;
  /** Before the second attempt to deliver. Default 10 s. */
  pauseMs?: number;
}

export interface NotificationsParts {
  db: State['db'];
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
    this.channels = new Channels(parts);
    this.#outbox = new Outbox({ ...parts, channels: this.channels, pauseMs });
    this.#happenings = new Happenings({ ...parts, outbox: this.#outbox, gatherMs });
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
    await sendTest({ ...this.#parts, channels: this.channels }, channel, this.#end.signal);
  }

  async #run(): Promise<void> {
    const { clock, times } = this.#parts;
    const { signal } = this.#end;
    while (!signal.aborted) {
      await this.#quietly('gathering what people are told', () => this.#happenings.gather());
      await this.#quietly('telling people', () => this.#outbox.deliver(signal));
      await clock.sleep(times?.everyMs ?? 5000, signal).catch(() => undefined); // aborted: it ends
    }
  }

  async #quietly(what: string, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.#parts.logger.warn(toPrimaError(error, what).message);
    }
  }
}
