/**
 * Lock files: one owner at a time, across processes. A lock names its owner so that one whose owner
 * died is recognised and taken over, and a recycled pid is never taken for the owner.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  createFile,
  liveness,
  ownIdentity,
  PrimaError,
  type ProcessIdentity,
  removeOldTemporaries,
  replaceFile,
  systemClock,
  systemErrorCode,
} from '@prima/base';

/** What a lock file holds, as JSON. */
interface LockRecord {
  owner: ProcessIdentity;
  /** What the owner is doing: "backing up web01". */
  what: string;
  since: string;
  /** Tells two locks of one process apart. */
  nonce: string;
}

export interface HeldLock extends AsyncDisposable {
  readonly path: string;
}

/**
 * Takes the lock at `path` (its folder is made), or raises `busy` after `waitMs` (default: at once), naming
 * the owner. The lock of a dead process is taken over. Give it back by disposing of it; again does nothing.
 * @param what what is being done under it, for the message others get: "backing up web01"
 */
export async function acquireLock(path: string, what: string, waitMs = 0): Promise<HeldLock> {
  const end = systemClock.monotonic() + waitMs;
  for (;;) {
    try {
      return await acquireNow(path, what);
    } catch (error) {
      const busy = error instanceof PrimaError && error.code === 'busy';
      if (!busy || systemClock.monotonic() >= end) throw error;
    }
    await systemClock.sleep(pollMs);
  }
}

const pollMs = 50;

async function acquireNow(path: string, what: string): Promise<HeldLock> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await removeOldTemporaries(dirname(path));
  const record: LockRecord = {
    owner: await ownIdentity(),
    what,
    since: new Date().toISOString(),
    nonce: randomBytes(8).toString('hex'),
  };
  const text = JSON.stringify(record);
  // each turn either takes the lock, raises, or found that it changed hands in between
  for (let turn = 0; turn < maxTurns; turn += 1) {
    if (await createFile(path, Buffer.from(text))) return held(path, text);
    const found = await readLock(path);
    if (found === undefined) continue;
    if (await isStale(found, path)) {
      if (await takeOver(path, found, text)) return held(path, text);
    }
  }
  throw new PrimaError('busy', `${what}: the lock ${path} kept changing hands; try again`, {
    retryable: true,
  });
}

const maxTurns = 20;

function held(path: string, text: string): HeldLock {
  let released = false;
  return {
    path,
    async [Symbol.asyncDispose]() {
      if (released) return;
      released = true;
      // somebody may have removed our lock by hand and taken it: theirs is not ours to remove
      if ((await readLock(path)) === text) await rm(path, { force: true });
    },
  };
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Raises `busy` when the owner is alive or cannot be asked. */
async function isStale(text: string, path: string): Promise<boolean> {
  const record = parseLock(text);
  if (record === undefined) {
    throw new PrimaError('busy', `the lock ${path} is damaged; if nobody works on this, remove it`);
  }
  const { owner, what, since } = record;
  const life = await liveness(owner);
  if (life === 'dead') return true;
  const who = `process ${owner.pid} on ${owner.host}, ${what} since ${since}`;
  const advice =
    life === 'alive'
      ? 'wait for it or stop it'
      : `whether it still lives cannot be asked from here; if it does not, remove ${path}`;
  throw new PrimaError('busy', `somebody else is at it: ${who}; ${advice}`, {
    retryable: true,
    details: { path, pid: owner.pid, host: owner.host, what, since },
  });
}

function parseLock(text: string): LockRecord | undefined {
  try {
    const value = JSON.parse(text) as Partial<LockRecord> | null;
    const fits = typeof value?.owner?.pid === 'number' && typeof value.what === 'string';
    return fits ? (value as LockRecord) : undefined;
  } catch {
    return undefined; // said by the caller
  }
}

/**
 * Replaces a dead owner's lock. Two processes may have found it dead; a lock on the takeover lets one of
 * them at a time look again and replace, so that neither removes the other's fresh lock.
 */
async function takeOver(path: string, stale: string, text: string): Promise<boolean> {
  await using _sole = await acquireLock(`${path}.takeover`, `taking over ${path}`);
  if ((await readLock(path)) !== stale) return false;
  await replaceFile(path, text);
  return true;
}
