/** A sink that hands out exact counts of bytes: the handshake, where both sides take turns. */
import { KiB, PrimaError, ProtocolError } from '@prima/base';
import { type ByteSink, feed } from './wire.ts';

const capacityBytes = 256 * KiB;

export class ByteReader implements ByteSink {
  readonly #scratch = Buffer.allocUnsafe(16 * KiB);
  #held: Buffer = Buffer.alloc(0);
  #wanted = 0;
  #waiting: { resolve: (bytes: Buffer) => void; reject: (error: PrimaError) => void } | undefined;
  #failure: PrimaError | undefined;

  window(): Uint8Array {
    return this.#scratch;
  }

  advance(count: number): void {
    if (this.#held.length + count > Math.max(capacityBytes, this.#wanted)) {
      throw new ProtocolError(
        `NBD handshake: more than ${capacityBytes} bytes were sent without being asked for`,
      );
    }
    this.#held = Buffer.concat([this.#held, this.#scratch.subarray(0, count)]);
    this.#answer();
  }

  ended(error: PrimaError): void {
    this.#failure = error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** The next `length` bytes; the caller has checked `length` against a limit. */
  async read(length: number): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#wanted = length;
    this.#waiting = { resolve, reject };
    this.#answer();
    if (this.#waiting && this.#failure) this.ended(this.#failure);
    return await promise;
  }

  /** Bytes that came but were not read. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** Gives the bytes that were not read to `sink`. */
  moveTo(sink: ByteSink): void {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    feed(sink, held);
  }

  #answer(): void {
    if (!this.#waiting || this.#held.length < this.#wanted) return;
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    const bytes = this.#held.subarray(0, this.#wanted);
    this.#held = this.#held.subarray(this.#wanted);
    resolve(bytes);
  }
}
