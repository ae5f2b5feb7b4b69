/** A lock between processes, held by flock(1) on our behalf; gone when this process is, however it dies. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { missingProgram, PrimaError, systemErrorCode, toPrimaError, withDeadline } from '@prima/base';

/** What is held until it is disposed of (or this process ends). */
export interface FileLock extends AsyncDisposable {
  readonly path: string;
}

/**
 * Waits for the lock on `path` (made when it is not there, never removed). Node has no flock(2), so a child
 * holds it and lets go when its standard input closes. Raises `busy` after `timeoutMs` (default 10 min).
 */
export async function lockFile(path: string, timeoutMs = 600_000): Promise<FileLock> {
  const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
  const holder = [
    '-x',
    '-w',
    String(seconds),
    '-E',
    '75',
    path,
    'sh',
    '-c',
    'echo held; exec cat >/dev/null',
  ];
  const child = spawn('flock', holder, { stdio: ['pipe', 'pipe', 'ignore'] });
  const closed = once(child, 'close');
  const held = new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', (error) =>
      reject(
        systemErrorCode(error) === 'ENOENT'
          ? missingProgram('flock')
          : toPrimaError(error, `locking ${path}`),
      ),
    );
    child.once('exit', (status) =>
      reject(
        status === 75
          ? new PrimaError('busy', `locking ${path}: somebody else held it for ${seconds} s`)
          : new PrimaError('io', `locking ${path}: flock ended with status ${status}`),
      ),
    );
  });
  held.catch(() => undefined); // the exit that follows the release rejects nobody
  child.stdin.on('error', () => undefined); // it may be gone already
  const release = async () => {
    child.stdin.end();
    await closed;
  };
  try {
    await withDeadline(timeoutMs + 10_000, `locking ${path}`, () => held);
  } catch (error) {
    child.kill();
    throw error;
  }
  return { path, [Symbol.asyncDispose]: release };
}
