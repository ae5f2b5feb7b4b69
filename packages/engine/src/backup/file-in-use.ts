/**
 * Whether QEMU has a disk file open for writing, as far as the kernel of this machine can tell: QEMU's
 * file driver holds open-file-description locks on single bytes that stand for permissions (block/
 * file-posix.c: permission n of those it has is byte 100 + n, of those it does not share byte 200 + n;
 * BLK_PERM_WRITE is permission 1). /proc/locks (proc(5)) lists them. A QEMU on another machine, or one
 * told not to lock, is not seen.
 */
import { readFile } from 'node:fs/promises';
import { systemErrorCode } from '@prima/base';

const writeByte = 101;

/** True when some QEMU here may write to the file. `dev` and `ino` as stat(2) gives them. */
export async function isOpenForWriting(file: { dev: number; ino: number }): Promise<boolean> {
  try {
    return hasWriter(await readFile('/proc/locks', 'latin1'), file);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false; // not Linux, or hidden: then nothing can be told
  }
}

/** True when some QEMU here has the file open at all. */
export async function isOpenInQemu(file: { dev: number; ino: number }): Promise<boolean> {
  try {
    return locksOf(await readFile('/proc/locks', 'latin1'), file).length > 0;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return false;
  }
}

/** Pure: looks for the lock in the text of /proc/locks. */
export function hasWriter(locks: string, file: { dev: number; ino: number }): boolean {
  return locksOf(locks, file).some(
    ({ first, last }) => Number(first) <= writeByte && (last === 'EOF' || Number(last) >= writeByte),
  );
}

/** The ranges of the file on which there are locks of the kind that QEMU takes. */
function locksOf(locks: string, { dev, ino }: { dev: number; ino: number }) {
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  // glibc's makedev: the minor number's upper bits lie above the major number's lower ones
  const major = Math.floor(dev / 2 ** 8) & 0xfff;
  const minor = (dev & 0xff) | (Math.floor(dev / 2 ** 12) & 0xfff00);
  const identity = `${hex(major)}:${hex(minor)}:${ino}`;
  return locks.split('\n').flatMap((line) => {
    const [, kind, , , , file, first = '', last = ''] = line.trim().split(/\s+/);
    return kind === 'OFDLCK' && file === identity ? [{ first, last }] : [];
  });
}
