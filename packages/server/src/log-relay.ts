/** Brings what is logged outside of calls (by the repository, its store) to whoever listens, and to the application. */
import { createLogger, type LogEvent, type Logger } from '@prima/base';

const mostEarly = 100;

export class LogRelay {
  readonly logger: Logger;
  readonly #listeners = new Set<(event: LogEvent) => void>();
  /** From before anybody listened: the repository may be opened before the first call. */
  readonly #early: LogEvent[] = [];

  /** @param logger gets everything, also what nobody listens to */
  constructor(logger: Logger) {
    this.logger = createLogger((event) => {
      logger[event.level](event.message, event.fields);
      if (this.#listeners.size === 0 && this.#early.length < mostEarly) this.#early.push(event);
      for (const listener of this.#listeners) listener(event);
    });
  }

  /** Calls `listener` with every event until the returned function is called. */
  listen(listener: (event: LogEvent) => void): () => void {
    this.#listeners.add(listener);
    for (const event of this.#early.splice(0)) listener(event);
    return () => this.#listeners.delete(listener);
  }
}
