/** Bytes in the order in which they come: from a pipe, an HTTP body, a member of a tar. Nothing is ever sought. */
import { FormatError, throwIfAborted, toPrimaError } from '@prima/base';

export interface StreamBytesOptions {
  /** What it is, for messages: a path, a member's name. */
  name: string;
  signal?: AbortSignal | undefined;
}

export class StreamBytes {
  readonly name: string;
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  /** What came and was not taken yet. */
  #held: Uint8Array = new Uint8Array();
  #position = 0;
  #isOver = false;
  #isPulling = false;

  constructor(source: AsyncIterable<Uint8Array>, { name, signal }: StreamBytesOptions) {
    this.#source = source[Symbol.asyncIterator]();
    this.name = name;
    this.#signal = signal;
  }

  /** How many bytes were taken. */
  get position(): number {
    return this.#position;
  }

  /** True when nothing more comes. */
  async isAtEnd(): Promise<boolean> {
    return !(await this.#hasMore());
  }

  /**
   * Fills `into`.
   * @param what is being read, for the error when it is not whole: "a grain"
   */
  async readInto(into: Uint8Array, what: string): Promise<void> {
    const start = this.#position;
    for (let done = 0; done < into.length; ) {
      const piece = await this.#next(into.length - done);
      if (!piece) throw this.#endsIn(what, { start, wanted: into.length });
      into.set(piece, done);
      done += piece.length;
    }
  }

  /** Passes over bytes without keeping them. */
  async skip(length: number, what: string): Promise<void> {
    const start = this.#position;
    if ((await this.skipAtMost(length)) < length) throw this.#endsIn(what, { start, wanted: length });
  }

  /** Like `skip`, but the end may come before; how many bytes there were. */
  async skipAtMost(length: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const piece = await this.#next(length - done);
      if (!piece) break;
      done += piece.length;
    }
    return done;
  }

  /** Tells the source that no more is wanted; may be called again. */
  async close(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held = new Uint8Array();
    const returned = this.#source.return?.();
    // a generator that waits for its next bytes ends only after them, and they may never come
    if (this.#isPulling) returned?.catch(() => undefined);
    else await returned;
  }

  /** At least one and at most `most` bytes; undefined at the end. Valid until the next call. */
  async #next(most: number): Promise<Uint8Array | undefined> {
    if (!(await this.#hasMore())) return undefined;
    const piece = this.#held.subarray(0, most);
    this.#held = this.#held.subarray(piece.length);
    this.#position += piece.length;
    return piece;
  }

  async #hasMore(): Promise<boolean> {
    const doing = `reading ${this.name}`;
    while (this.#held.length === 0 && !this.#isOver) {
      throwIfAborted(this.#signal, doing);
      const { done, value } = await this.#pull(doing);
      if (done === true) this.#isOver = true;
      else this.#held = value;
    }
    throwIfAborted(this.#signal, doing);
    return this.#held.length > 0;
  }

  async #pull(doing: string): Promise<IteratorResult<Uint8Array>> {
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(toPrimaError(this.#signal?.reason, doing));
    this.#signal?.addEventListener('abort', onAbort, { once: true });
    this.#isPulling = true;
    try {
      const pulled = this.#source.next().finally(() => {
        this.#isPulling = false;
      });
      // a source that is stuck must not keep a cancelled reader
      return await Promise.race([pulled, aborted.promise]);
    } catch (error) {
      throw toPrimaError(error, doing);
    } finally {
      this.#signal?.removeEventListener('abort', onAbort);
    }
  }

  #endsIn(what: string, { start, wanted }: { start: number; wanted: number }): FormatError {
    const had = this.#position - start;
    return new FormatError(
      `${this.name} ends in the middle of ${what}, which begins at byte ${start}: ${had} of ${wanted} bytes are there; ` +
        'it was not copied to its end',
      { details: { offset: start } },
    );
  }
}
