/**
 * How fast Prima's NBD client reads: a sparse raw disk, half of it random data in the page cache, from
 * qemu-nbd to nowhere over two connections, beside nbdcopy doing the same, in turn.
 *
 * usage: scripts/node bench/nbd.ts [ROUNDS]
 */
import { spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes, GiB, MiB, type Range, runProgram, seededRandom } from '@prima/base';
import { connectNbd } from '@prima/nbd';
import { isListening, waitUntil } from '@prima/testbed';

export interface NbdBenchOptions {
  /** Default 5. */
  rounds?: number;
  /** Of the disk. Default 2 GiB. */
  sizeBytes?: number;
}

export interface NbdBenchResult {
  /** Data on the disk. */
  dataBytes: number;
  /** Of each round, connecting included. */
  primaSeconds: number[];
  nbdcopySeconds: number[];
  /** Processor time of our process, all threads, per GiB of data; the median. */
  primaCpuSecondsPerGiB: number;
  /** Prima's speed over nbdcopy's, from the medians; 1 is the same. */
  ratio: number;
}

const connections = 2;
const readers = 8;
const readBytes = 1 * MiB;

/** Makes its disk, starts qemu-nbd, measures, and leaves nothing behind. */
export async function benchNbd(options: NbdBenchOptions = {}): Promise<NbdBenchResult> {
  const { rounds = 5, sizeBytes = 2 * GiB } = options;
  await using resources = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'prima-bench-nbd-'));
  resources.defer(() => rm(folder, { recursive: true, force: true }));
  const disk = join(folder, 'disk.raw');
  const dataBytes = await makeDisk(disk, sizeBytes);
  const socketPath = join(folder, 's');
  const server = spawn('qemu-nbd', ['-r', '-t', '-e', '8', '-f', 'raw', '-k', socketPath, disk], {
    stdio: 'inherit',
  });
  const exited = once(server, 'exit');
  resources.defer(async () => {
    server.kill('SIGKILL');
    await exited;
  });
  await waitUntil(() => isListening(socketPath), { what: 'qemu-nbd to listen' });
  const result = { dataBytes, primaSeconds: [] as number[], nbdcopySeconds: [] as number[] };
  const cpu: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const before = process.cpuUsage();
    result.primaSeconds.push(await timed(() => readAll(socketPath)));
    const { user, system } = process.cpuUsage(before);
    cpu.push((user + system) / 1e6 / (dataBytes / GiB));
    const args = [`--connections=${connections}`, `nbd+unix:///?socket=${socketPath}`, 'null:'];
    result.nbdcopySeconds.push(await timed(() => runProgram('nbdcopy', args)));
  }
  const ratio = median(result.nbdcopySeconds) / median(result.primaSeconds);
  return { ...result, primaCpuSecondsPerGiB: median(cpu), ratio };
}

/** Runs of 1 to 8 MiB, every other one random, the rest holes. */
async function makeDisk(path: string, sizeBytes: number): Promise<number> {
  const random = seededRandom(5);
  const noise = createCipheriv('aes-256-ctr', Buffer.alloc(32, 5), Buffer.alloc(16));
  const zeros = Buffer.alloc(8 * MiB);
  let dataBytes = 0;
  await using file = await open(path, 'wx');
  await file.truncate(sizeBytes);
  for (let offset = 0; offset < sizeBytes; ) {
    const length = Math.min(2 ** random.below(4) * MiB, sizeBytes - offset);
    const bytes = noise.update(zeros.subarray(0, length));
    for (let done = 0; done < length; ) {
      done += (await file.write(bytes, done, length - done, offset + done)).bytesWritten;
    }
    dataBytes += length;
    offset += 2 * length;
  }
  return dataBytes;
}

/** Reads all data into shared memory, as a backup does. */
async function readAll(socketPath: string): Promise<void> {
  const device = await connectNbd({ socketPath }, { connections });
  try {
    const pieces: Range[] = [];
    for await (const { offset, length, kind } of device.extents({ offset: 0, length: device.size })) {
      if (kind !== 'data') continue;
      for (let at = 0; at < length; at += readBytes) {
        pieces.push({ offset: offset + at, length: Math.min(readBytes, length - at) });
      }
    }
    const queue = pieces.values();
    const reader = async () => {
      const memory = new Uint8Array(new SharedArrayBuffer(readBytes));
      for (const { offset, length } of queue) await device.read(offset, memory.subarray(0, length));
    };
    await Promise.all(Array.from({ length: readers }, reader));
  } finally {
    await device.close();
  }
}

async function timed(task: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await task();
  return (performance.now() - start) / 1000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}

if (import.meta.main) {
  const result = await benchNbd({ rounds: Number(process.argv[2] ?? 5) });
  const line = (name: string, seconds: readonly number[]) => {
    const each = seconds.map((value) => value.toFixed(2)).join(' ');
    const rate = formatBytes(result.dataBytes / median(seconds));
    console.log(`${name.padEnd(8)} ${median(seconds).toFixed(2)} s  ${rate}/s  (${each})`);
  };
  console.log(`${formatBytes(result.dataBytes)} of data from qemu-nbd, ${connections} connections`);
  line('prima', result.primaSeconds);
  line('nbdcopy', result.nbdcopySeconds);
  const cpu = result.primaCpuSecondsPerGiB.toFixed(2);
  console.log(`prima is ${result.ratio.toFixed(2)} × nbdcopy; processor time ${cpu} s per GiB`);
}
