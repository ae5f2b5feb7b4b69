/**
 * The system calls that Node does not offer and disks need: lseek(2) with SEEK_DATA and SEEK_HOLE,
 * fallocate(2), and sync_file_range(2). Called through koffi on the C library's 64-bit entry points, on
 * libuv's threads, so that a slow file system does not stop the event loop.
 */
import { constants } from 'node:os';
import { Semaphore, toPrimaError } from '@prima/base';

/** `whence` of lseek(2): the next data, the next hole (linux/fs.h). */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** `mode` of fallocate(2) (linux/falloc.h). */
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

/** `flags` of sync_file_range(2): start writing what is dirty, wait for nothing (linux/fs.h). */
export const SYNC_FILE_RANGE_WRITE = 0x02;

/** What a call answered: its value, or -1 with the name of the error (`ENXIO`). */
export interface SystemResult {
  value: number;
  error: string | undefined;
}

export interface SystemCalls {
  /** Offsets are bytes below 2^53; the kernel gets them as 64-bit integers. */
  lseek(fd: number, offset: number, whence: number): Promise<SystemResult>;
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<SystemResult>;
  /** A length of 0 means: to the end of the file. */
  syncFileRange(fd: number, offset: number, length: number, flags: number): Promise<SystemResult>;
}

/** The calls, or the reason why they cannot be made here. */
export type SystemCallsOrReason = { calls: SystemCalls } | { reason: string };

/** koffi raises when more than some hundreds of its calls wait; ours wait here instead. */
const turns = new Semaphore(16);

let loaded: Promise<SystemCallsOrReason> | undefined;

/** Loads the library on first use; the same answer ever after. */
export function systemCalls(): Promise<SystemCallsOrReason> {
  loaded ??= load().catch((error: unknown) => ({
    reason: `the C library cannot be called: ${toPrimaError(error, 'loading koffi').message}`,
  }));
  return loaded;
}

type AsyncFunction = (...values: [...number[], (error: Error | null, value: number) => void]) => void;

async function load(): Promise<SystemCallsOrReason> {
  if (process.platform !== 'linux') return { reason: `${process.platform} is not Linux` };
  const { default: koffi } = await import('koffi');
  const library = koffi.load('libc.so.6');
  const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
  const once = (call: AsyncFunction, values: number[]) =>
    new Promise<SystemResult>((resolve, reject) => {
      call(...values, (error, value) => {
        if (error) reject(error);
        else if (value >= 0) resolve({ value, error: undefined });
        // koffi shows a callback the errno of its own call
        else resolve({ value, error: names.get(koffi.errno()) ?? `errno ${koffi.errno()}` });
      });
    });
  const caller = (prototype: string) => {
    const call = library.func(prototype).async as AsyncFunction;
    return async (...values: number[]) => {
      for (;;) {
        const result = await turns.run(() => once(call, values));
        if (result.error !== 'EINTR') return result;
      }
    };
  };
  const lseek = caller('int64_t lseek64(int fd, int64_t offset, int whence)');
  const fallocate = caller('int fallocate64(int fd, int mode, int64_t offset, int64_t length)');
  const syncFileRange = caller(
    'int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)',
  );
  return { calls: { lseek, fallocate, syncFileRange } };
}

/** The error of a failed call in the form that Node's own have, so that `toPrimaError` knows it. */
export function systemError(call: string, code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${call}: ${code}`), { code, syscall: call });
}
