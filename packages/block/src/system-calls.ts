/**
 * The system calls that Node does not offer and disks need: lseek(2) with SEEK_DATA and SEEK_HOLE,
 * fallocate(2), sync_file_range(2), and the locks of fcntl(2). Called through koffi on the C library's 64-bit entry points, on
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

/** Locks that belong to an open file, fcntl(2): commands and types (asm-generic/fcntl.h). */
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

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
  /** fcntl(2) on one byte of an open file. `found`: the type of a lock in the way (F_OFD_GETLK), F_UNLCK for none. */
  lockByte(fd: number, command: number, lock: ByteLock): Promise<SystemResult & { found: number }>;
}

export interface ByteLock {
  type: number;
  byte: number;
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

type Argument = number | Uint8Array;
type AsyncFunction = (...values: [...Argument[], (error: Error | null, value: number) => void]) => void;

async function load(): Promise<SystemCallsOrReason> {
  if (process.platform !== 'linux') return { reason: `${process.platform} is not Linux` };
  const { default: koffi } = await import('koffi');
  const library = koffi.load('libc.so.6');
  const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
  const once = (call: AsyncFunction, values: Argument[]) =>
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
    return async (...values: Argument[]) => {
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
  // variadic in C; on the processors that Node has Linux builds for, a pointer is passed alike
  const fcntl = caller('int fcntl(int fd, int command, _Inout_ uint8_t *lock)');
  const lockByte: SystemCalls['lockByte'] = async (fd, command, { type, byte }) => {
    const lock = flock(type, byte);
    const result = await fcntl(fd, command, lock);
    return { ...result, found: lock.readInt16LE(0) };
  };
  return { calls: { lseek, fallocate, syncFileRange, lockByte } };
}

/** struct flock: i16 type, i16 whence, i64 start at 8, i64 length at 16, i32 pid at 24, which has to be 0. */
function flock(type: number, byte: number): Buffer {
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(type, 0);
  lock.writeBigInt64LE(BigInt(byte), 8);
  lock.writeBigInt64LE(1n, 16);
  return lock;
}

/** The error of a failed call in the form that Node's own have, so that `toPrimaError` knows it. */
export function systemError(call: string, code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${call}: ${code}`), { code, syscall: call });
}
