/**
 * What a thread of the pool does: chunks are hashed, compressed, encrypted, read back and laid into packs, and blobs
 * are opened. Bytes come and go through shared memory; messages are small.
 */
import { assert, IntegrityError, isZero, toPrimaError } from '@prima/base';
import { blobId, Opener, Sealer } from '../crypto/sealer.ts';
import { blobType } from '../format/blob.ts';
import { PackBuilder } from '../format/pack-builder.ts';
import type { Answer, Request, WorkerSetup } from './messages.ts';
import { verifyPack } from './verify-pack.ts';

type SealRequest = Extract<Request, { op: 'seal' }>;

export class ChunkWork {
  readonly #setup: WorkerSetup;
  readonly #post: (answer: Answer, transfer?: ArrayBufferLike[]) => void;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #slots: Uint8Array[];
  readonly #packBuffers: Uint8Array[];
  readonly #freeBuffers: number[];
  /** Seal requests that wait for a pack buffer to come back. */
  readonly #stalled: SealRequest[] = [];
  /** Where sealed chunks are read back to. */
  #again = new Uint8Array(0);
  #open: { builder: PackBuilder; buffer: number } | undefined;

  /** @param post takes answers, and memory that goes with them */
  constructor(setup: WorkerSetup, post: (answer: Answer, transfer?: ArrayBufferLike[]) => void) {
    this.#setup = setup;
    this.#post = post;
    this.#sealer = new Sealer(setup.keys);
    this.#opener = new Opener(setup.keys);
    this.#slots = setup.slots.map((slot) => new Uint8Array(slot));
    this.#packBuffers = setup.packBuffers.map((buffer) => new Uint8Array(buffer));
    this.#freeBuffers = this.#packBuffers.map((_, index) => index);
  }

  /** Does what is asked; requests are taken in their order. */
  receive(request: Request): void {
    switch (request.op) {
      case 'hash':
        this.#answer(request.job, () => this.#hash(this.#chunkAt(request)));
        break;
      case 'seal':
        if (this.#stalled.length > 0 || !this.#openPack()) this.#stalled.push(request);
        else this.#seal(request);
        break;
      case 'flush':
        assert(this.#stalled.length === 0, 'nothing waits when a session is flushed');
        this.#answer(request.job, () => {
          this.#finishPack();
          return {};
        });
        break;
      case 'release':
        this.#freeBuffers.push(request.buffer);
        while (this.#stalled.length > 0 && this.#openPack()) {
          const next = this.#stalled.shift();
          if (next) this.#seal(next);
        }
        break;
      case 'epochs':
        this.#setup.keys.epochs.splice(0, Infinity, ...request.epochs);
        break;
      case 'open':
        this.#answer(request.job, () => {
          const { blob, type, id, into, where } = request;
          this.#opener.open(blob, { type, id, into }, where);
          return {};
        });
        break;
      case 'verify':
        this.#answer(request.job, () => ({ fault: verifyPack(this.#opener, request.pack, request) }));
        break;
    }
  }

  #answer(job: number, work: () => { id?: Uint8Array; length?: number; fault?: string | undefined }): void {
    let message: Answer;
    try {
      message = { op: 'done', job, ...work() };
    } catch (error) {
      const { code, message: text } = toPrimaError(error, 'working on a chunk');
      message = { op: 'failed', job, code, message: text };
    }
    this.#post(message);
  }

  #chunkAt({ slot, offset, length }: { slot: number; offset: number; length: number }): Uint8Array {
    const bytes = this.#slots[slot];
    assert(bytes && offset + length <= bytes.length, `slot ${slot} has ${length} bytes at ${offset}`);
    return bytes.subarray(offset, offset + length);
  }

  #hash(plain: Uint8Array): { id?: Uint8Array } {
    return isZero(plain) ? {} : { id: blobId(this.#setup.keys, blobType.chunk, plain) };
  }

  /** Makes sure that there is a pack with room; false when all buffers are being stored. */
  #openPack(): boolean {
    if (this.#open?.builder.isFull) this.#finishPack();
    if (this.#open) return true;
    const buffer = this.#freeBuffers.pop();
    const bytes = buffer === undefined ? undefined : this.#packBuffers[buffer];
    if (buffer === undefined || bytes === undefined) return false;
    this.#open = { builder: new PackBuilder(bytes, this.#setup.packBytes), buffer };
    return true;
  }

  #seal(request: SealRequest): void {
    this.#answer(request.job, () => {
      assert(this.#open, 'a pack is open');
      const { id } = request;
      const plain = this.#chunkAt(request);
      const chunk = { type: blobType.chunk, id, plain };
      const inspect = (sealed: Uint8Array) => this.#readBack(sealed, id, plain);
      const blob = this.#open.builder.add(chunk, this.#sealer, this.#setup.readBack ? inspect : undefined);
      return { length: blob.length };
    });
    if (this.#open?.builder.isFull) this.#finishPack();
  }

  /** Opens what was just sealed and compares: bad memory and codec bugs must not reach the store. */
  #readBack(blob: Uint8Array, id: Uint8Array, plain: Uint8Array): void {
    if (this.#again.length < plain.length) this.#again = new Uint8Array(plain.length);
    const into = this.#again.subarray(0, plain.length);
    const again = this.#opener.decode(blob, { type: blobType.chunk, id, into }, 'reading back a chunk');
    if (again.compare(plain) !== 0) {
      throw new IntegrityError(
        'a chunk that was just compressed and encrypted does not read back as it was: suspect bad memory or a faulty processor; nothing was stored',
      );
    }
  }

  #finishPack(): void {
    const open = this.#open;
    if (!open || open.builder.isEmpty) return;
    const { name, size, entries } = open.builder.finish();
    const ids = new Uint8Array(entries.length * 32);
    const places = new Uint32Array(entries.length * 2);
    for (const [index, entry] of entries.entries()) {
      ids.set(entry.id, index * 32);
      places[index * 2] = entry.offset;
      places[index * 2 + 1] = entry.length;
    }
    this.#open = undefined;
    this.#post({ op: 'pack', buffer: open.buffer, name, size, ids, places }, [ids.buffer, places.buffer]);
  }
}
