/**
 * The thread on which chunks are hashed, compressed, encrypted, read back and laid into packs, and
 * on which blobs are opened. Bytes come and go through shared memory; messages are small.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert, IntegrityError, isZero, toPrimaError } from '@prima/base';
import { blobId, Opener, Sealer } from '../crypto/sealer.ts';
import { blobType } from '../format/blob.ts';
import { PackBuilder } from '../format/pack-builder.ts';
import type { Answer, Request, WorkerSetup } from './messages.ts';

type SealRequest = Extract<Request, { op: 'seal' }>;

const setup = workerData as WorkerSetup;
const port = parentPort;
assert(port, 'chunk-worker.ts runs as a worker');
const sealer = new Sealer(setup.keys);
const opener = new Opener(setup.keys);
const slots = setup.slots.map((slot) => new Uint8Array(slot));
const packBuffers = setup.packBuffers.map((buffer) => new Uint8Array(buffer));
const freeBuffers = packBuffers.map((_, index) => index);
/** Seal requests that wait for a pack buffer to come back. */
const stalled: SealRequest[] = [];
let open: { builder: PackBuilder; buffer: number } | undefined;

port.on('message', (request: Request) => {
  switch (request.op) {
    case 'hash':
      answer(request.job, () => hash(request.slot, request.length));
      break;
    case 'seal':
      if (stalled.length > 0 || !openPack()) stalled.push(request);
      else seal(request);
      break;
    case 'flush':
      assert(stalled.length === 0, 'nothing waits when a session is flushed');
      answer(request.job, () => {
        finishPack();
        return {};
      });
      break;
    case 'release':
      freeBuffers.push(request.buffer);
      while (stalled.length > 0 && openPack()) {
        const next = stalled.shift();
        if (next) seal(next);
      }
      break;
    case 'epochs':
      setup.keys.epochs.splice(0, Infinity, ...request.epochs);
      break;
    case 'open':
      answer(request.job, () => {
        const { blob, type, id, into, where } = request;
        const plain = opener.open(blob, { type, id }, where);
        if (plain.length !== into.length) {
          throw new IntegrityError(`${where}: the chunk has ${plain.length} bytes, wanted ${into.length}`);
        }
        into.set(plain);
        return {};
      });
      break;
  }
});

function answer(job: number, work: () => { id?: Uint8Array; length?: number }): void {
  let message: Answer;
  try {
    message = { op: 'done', job, ...work() };
  } catch (error) {
    const { code, message: text } = toPrimaError(error, 'working on a chunk');
    message = { op: 'failed', job, code, message: text };
  }
  port?.postMessage(message);
}

function chunkIn(slot: number, length: number): Uint8Array {
  const bytes = slots[slot];
  assert(bytes && length <= bytes.length, `slot ${slot} has ${length} bytes`);
  return bytes.subarray(0, length);
}

function hash(slot: number, length: number): { id?: Uint8Array } {
  const plain = chunkIn(slot, length);
  return isZero(plain) ? {} : { id: blobId(setup.keys, blobType.chunk, plain) };
}

/** Makes sure that there is a pack with room; false when all buffers are being stored. */
function openPack(): boolean {
  if (open?.builder.isFull) finishPack();
  if (open) return true;
  const buffer = freeBuffers.pop();
  const bytes = buffer === undefined ? undefined : packBuffers[buffer];
  if (buffer === undefined || bytes === undefined) return false;
  open = { builder: new PackBuilder(bytes, setup.packBytes), buffer };
  return true;
}

function seal(request: SealRequest): void {
  answer(request.job, () => {
    assert(open, 'a pack is open');
    const { id, slot, length } = request;
    const plain = chunkIn(slot, length);
    const blob = open.builder.add(blobType.chunk, id, plain, sealer);
    if (setup.readBack) readBack(blob, id, plain);
    return { length: blob.length };
  });
  if (open?.builder.isFull) finishPack();
}

/** Opens what was just sealed and compares: bad memory and codec bugs must not reach the store. */
function readBack(blob: Uint8Array, id: Uint8Array, plain: Uint8Array): void {
  const again = opener.decode(blob, { type: blobType.chunk, id }, 'reading back a chunk');
  if (again.compare(plain) !== 0) {
    throw new IntegrityError(
      'a chunk that was just compressed and encrypted does not read back as it was: suspect bad memory or a faulty processor; nothing was stored',
    );
  }
}

function finishPack(): void {
  if (!open || open.builder.isEmpty) return;
  const { name, size, entries } = open.builder.finish();
  const ids = new Uint8Array(entries.length * 32);
  const places = new Uint32Array(entries.length * 2);
  for (const [index, entry] of entries.entries()) {
    ids.set(entry.id, index * 32);
    places[index * 2] = entry.offset;
    places[index * 2 + 1] = entry.length;
  }
  const message: Answer = { op: 'pack', buffer: open.buffer, name, size, ids, places };
  open = undefined;
  port?.postMessage(message, [ids.buffer, places.buffer]);
}
