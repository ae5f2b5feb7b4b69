/**
 * Makes this process repeat itself: what Node gives from outside (random bytes, the host's name, /proc, intervals)
 * comes from the seed and from the simulated clock instead. Only for processes that do nothing but simulate.
 */
import crypto from 'node:crypto';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { assert, type Random, seededRandom } from '@prima/base';

let random: Random | undefined;
let hosts = 0;
let intervals: { task: () => void; everyMs: number; next: number }[] = [];
let now = () => 0;
let isInstalled = false;

/** Begins a run: everything from now on follows from the seed. */
export function beginRun(seed: number, clock: () => number): void {
  install();
  random = seededRandom(seed);
  hosts = 0;
  intervals = [];
  now = clock;
}

/** Runs the intervals that are due: once each, however late. */
export function runIntervals(): void {
  for (const interval of intervals) {
    if (interval.next > now()) continue;
    interval.next = now() + interval.everyMs;
    interval.task();
  }
}

function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  const randomBytes = (size: number): Buffer => {
    assert(random, 'a run has begun');
    return Buffer.from(random.bytes(new Uint8Array(size)));
  };
  // digests stand in for signatures, which take most of the time; nobody forges here
  const digest = (data: Uint8Array) => crypto.createHash('sha512').update(data).digest();
  const sign = (_algorithm: null, data: Uint8Array) => digest(data);
  type Verified = (error: Error | null, isRight: boolean) => void;
  const verify = (...[, data, , signature, done]: [null, Uint8Array, unknown, Uint8Array, Verified?]) => {
    const isRight = digest(data).equals(signature);
    if (done) queueMicrotask(() => done(null, isRight)); // not from a thread, whose moment nobody can repeat
    return isRight;
  };
  const createPrivateKey = ({ key }: { key: Uint8Array }) => ({ secret: key });
  const createPublicKey = ({ secret }: { secret?: Uint8Array }) => ({
    export: () => Buffer.concat([Buffer.alloc(12), digest(secret ?? new Uint8Array(0)).subarray(0, 32)]),
  });
  Object.assign(crypto, { randomBytes, sign, verify, createPrivateKey, createPublicKey });
  // every session is of another host, so that nobody can be asked whether it lives: leases decide
  Object.assign(os, { hostname: () => `host-${(hosts += 1)}` });
  const readFile = fs.readFile.bind(fs);
  const readProc = async (path: string, ...rest: never[]) =>
    typeof path === 'string' && path.startsWith('/proc/')
      ? '1 (node) S 1 1 1'
      : await readFile(path, ...rest);
  Object.assign(fs, { readFile: readProc });
  syncBuiltinESMExports();
  const setVirtual = (task: () => void, everyMs: number) => {
    const interval = { task, everyMs, next: now() + everyMs };
    intervals.push(interval);
    return Object.assign(interval, { unref: () => undefined, ref: () => undefined });
  };
  const clearVirtual = (interval: unknown) => {
    intervals = intervals.filter((other) => other !== interval);
  };
  Object.assign(globalThis, { setInterval: setVirtual, clearInterval: clearVirtual });
}
