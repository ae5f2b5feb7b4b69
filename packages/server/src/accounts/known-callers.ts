/**
 * Who asked a moment ago: programs ask many times a second, and each time three tables would say whose request it is. What is known
 * is forgotten after a second, and at once when this process has changed anything about anybody.
 */
import type { Clock } from '@prima/base';
import type { Caller } from './sessions.ts';

/** Another server on the same database may have taken a token back so long ago. */
const knownMs = 1000;
const callersAtMost = 1000;

export class KnownCallers {
  readonly #clock: Clock;
  readonly #known = new Map<string, { caller: Caller; until: number }>();
  #changes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The caller of this secret's hash, as `find` says; whoever is nobody is looked for each time. */
  async get(hash: string, find: () => Promise<Caller | undefined>): Promise<Caller | undefined> {
    const known = this.#known.get(hash);
    if (known && this.#clock.monotonic() < known.until) return known.caller;
    const changes = this.#changes;
    const caller = await find();
    this.#known.delete(hash);
    if (!caller || changes !== this.#changes) return caller; // what was just read may be old already
    this.#known.set(hash, { caller, until: this.#clock.monotonic() + knownMs });
    const [oldest] = this.#known.keys();
    if (this.#known.size > callersAtMost && oldest !== undefined) this.#known.delete(oldest);
    return caller;
  }

  /** Something about accounts, roles, sessions or tokens has changed. */
  forget(): void {
    this.#changes += 1;
    this.#known.clear();
  }
}
