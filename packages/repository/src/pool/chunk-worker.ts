/** The thread of a pool: see `chunk-work.ts` for what it does. */
import { parentPort, type Transferable, workerData } from 'node:worker_threads';
import { assert } from '@prima/base';
import { ChunkWork } from './chunk-work.ts';
import type { Request, WorkerSetup } from './messages.ts';

const port = parentPort;
assert(port, 'chunk-worker.ts runs as a worker');
const work = new ChunkWork(workerData as WorkerSetup, (answer, transfer = []) =>
  port.postMessage(answer, transfer as Transferable[]),
);
port.on('message', (request: Request) => work.receive(request));
