/** A thread of a stream's pool: see `stream-work.ts` for what it does. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '@prima/base';
import { answerTo, type Request, type WorkerSetup } from './stream-work.ts';

const port = parentPort;
assert(port, 'stream-worker.ts runs as a worker');
const slots = (workerData as WorkerSetup).slots.map((slot) => new Uint8Array(slot, 0, slot.byteLength));
port.on('message', (request: Request) => {
  const answer = answerTo(request, slots);
  port.postMessage(answer, answer.op === 'done' ? [answer.records.buffer] : []);
});
