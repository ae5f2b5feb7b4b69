/** The thread of a pool: see `chunk-work.ts` for what it does. */
import { parentPort, type Transferable } from 'node:worker_threads';
import { assert, MiB } from '@prima/base';
import { zstdFor } from '../compression/zstd.ts';
import { aesGcmFor } from '../crypto/aes-gcm.ts';
import { ChunkWork } from './chunk-work.ts';
import type { Answer, Begin, Request } from './messages.ts';

const port = parentPort;
assert(port, 'chunk-worker.ts runs as a worker');
let answers: Answer[] = [];
let transfers: ArrayBufferLike[] = [];
const post = (answer: Answer, transfer: ArrayBufferLike[] = []) => {
  answers.push(answer);
  transfers.push(...transfer);
};
let work: ChunkWork | undefined;
port.on('message', (requests: Begin | Request[]) => {
  if ('setup' in requests) {
    work = new ChunkWork(requests.setup, post);
    return;
  }
  for (const request of requests) work?.receive(request);
  if (answers.length === 0) return;
  port.postMessage(answers, transfers as Transferable[]);
  answers = [];
  transfers = [];
});
// loaded now: a thread may be started before there is anything to do
zstdFor(MiB);
aesGcmFor(MiB);
