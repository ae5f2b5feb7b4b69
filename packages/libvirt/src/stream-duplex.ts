/** A stream for both directions, a console or a channel, as Node's. */
import { Duplex } from 'node:stream';
import { toPrimaError } from '@prima/base';
import type { RpcStream } from './stream.ts';

/**
 * There are no deadlines: a console may be silent for ever. Ending it finishes the stream, destroying it aborts; either way
 * both directions are over.
 */
export function streamDuplex(stream: RpcStream<unknown>): Duplex {
  return new StreamDuplex(stream);
}

type Done = (error?: Error | null) => void;

class StreamDuplex extends Duplex {
  readonly #stream: RpcStream<unknown>;
  #isReading = false;
  #isFinished = false;

  constructor(stream: RpcStream<unknown>) {
    super({ allowHalfOpen: false });
    this.#stream = stream;
  }

  override _read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    void this.#pump();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    void settle(() => this.#stream.write(chunk), done);
  }

  override _final(done: Done): void {
    void settle(() => this.#finish(), done);
  }

  override _destroy(error: Error | null, done: Done): void {
    const end = async () => {
      if (!this.#isFinished) await this.#stream.abort();
    };
    void settle(end, (failure) => done(error ?? failure));
  }

  async #pump(): Promise<void> {
    try {
      for (let wanted = true; wanted; ) {
        const piece = await this.#stream.next();
        if (piece === undefined) {
          this.push(null);
          return;
        }
        if ('data' in piece) wanted = this.push(piece.data);
      }
      this.#isReading = false;
    } catch (error) {
      if (!this.#isFinished) this.destroy(toPrimaError(error, 'reading a stream of libvirt'));
    }
  }

  async #finish(): Promise<void> {
    this.#isFinished = true;
    await this.#stream.finish();
    this.push(null);
  }
}

async function settle(work: () => Promise<void>, done: Done): Promise<void> {
  let failure: Error | null = null;
  try {
    await work();
  } catch (error) {
    failure = toPrimaError(error, 'using a stream of libvirt');
  }
  done(failure);
}
