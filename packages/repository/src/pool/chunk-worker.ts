/** The thread of a pool: see `chunk-work.ts` for what it does. */
import { parentPort, type Transferable } from 'node:worker_threads';
import { assert, MiB } from '@prima/base';
import { zstdFor } from '../compression/zstd.ts';
import { aesGcmFor } from '../crypto/aes-gcm.ts';
import { ChunkWork } from './chunk-work.ts';
import type { Answer, Begin, Request } from './messages.ts';

const port = parentPort;
assert(port, 'chunk-worker.ts runs as a worker');
const post = (answer: Answer, transfer: ArrayBufferLike[] = []) =>
  port.postMessage(answer, transfer as Transferable[]);
let work: ChunkWork | undefined;
port.on('message', (request: Begin | Request) => {
  if (request.op === 'begin') work = new ChunkWork(request.setup, post);
  else work?.receive(request);
});
// loaded now: a thread may be started before there is anything to do
zstdFor(MiB);
aesGcmFor(MiB);
