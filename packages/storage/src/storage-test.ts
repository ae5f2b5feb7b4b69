/**
 * Holds a user's own storage to what the repository's safety rests on, in a folder (or prefix) of its own that is
 * removed afterwards, and measures it. What no test from here can show is said, too.
 */
import { randomBytes } from 'node:crypto';
import {
  createLogger,
  type Logger,
  type ProgressListener,
  seededRandom,
  silentLogger,
  throwIfAborted,
} from '@prima/base';
import { folderOfUrl, openStore } from './open-store.ts';
import { durabilityOfFolder } from './file-system.ts';
import type { ObjectStore } from './object-store.ts';
import { childUrl, removeScratch } from './scratch-store.ts';
import { measureStore, type StorageFigures } from './storage-figures.ts';
import { runStoreCheck, type StoreCheck, storeChecks } from './store-checks.ts';

export interface StoragePromise {
  /** One or two words. */
  promise: string;
  /** `untested`: cannot be tested from here; `absent`: not offered, and a repository works without. */
  verdict: 'kept' | 'broken' | 'absent' | 'untested';
  /** What it means, or what was found instead. */
  detail: string;
  /** What to do about it. */
  advice?: string;
}

export interface StorageTestReport {
  url: string;
  /** False when a promise is broken: no repository should be kept there. */
  ok: boolean;
  promises: StoragePromise[];
  /** Missing when storing and reading failed. */
  figures?: StorageFigures;
  /** Objects of the test that the store keeps under retention; they may be deleted in some minutes. */
  left: string[];
}

export interface StorageTestOptions {
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: ProgressListener;
  /** How stores are opened; tests break them. Default: `openStore`. */
  open?: typeof openStore;
}

/**
 * Tests the store at `url`, which must be there. What is wrong with the store is in the report; raised is what
 * opening it raises, and `cancelled`. The folder of the test is removed on every path.
 */
export async function testStorage(url: string, options: StorageTestOptions = {}): Promise<StorageTestReport> {
  const { signal, onProgress, open = openStore } = options;
  const warnings: string[] = [];
  const logger = collecting(warnings, options.logger ?? silentLogger);
  const about = await describe(url, { open, logger });
  const scratch = childUrl(url, `prima-test-${randomBytes(6).toString('hex')}`);
  const promises: StoragePromise[] = [];
  let figures: StorageFigures | undefined;
  let left: string[] = [];
  try {
    await (await open(scratch, { create: true, logger })).close(); // raises what would break every promise
    for (const [index, check] of storeChecks.entries()) {
      onProgress?.({ phase: check.promise, done: index, total: storeChecks.length + 1 });
      promises.push(await tried(check, { url: childUrl(scratch, `c${index}`), about, open, logger, signal }));
    }
    onProgress?.({ phase: 'measuring', done: storeChecks.length, total: storeChecks.length + 1 });
    if (promises.every(({ verdict }) => verdict !== 'broken'))
      figures = await measured({ url: childUrl(scratch, 'figures'), about, open, logger, signal });
  } finally {
    left = await removeScratch(scratch, { logger });
  }
  const ok = promises.every(({ verdict }) => verdict !== 'broken');
  promises.push(settling(about), await durability(url, warnings));
  return { url: about.url, ok, promises, ...(figures && { figures }), left };
}

interface About {
  url: string;
  settleMs: number;
  retains: boolean;
}

async function describe(url: string, { open, logger }: Pick<Trial, 'open' | 'logger'>): Promise<About> {
  const store = await open(url, { logger });
  try {
    return { url: store.url, settleMs: store.settleMs ?? 0, retains: store.retention !== undefined };
  } finally {
    await store.close();
  }
}

interface Trial {
  url: string;
  about: About;
  open: typeof openStore;
  logger: Logger;
  signal: AbortSignal | undefined;
}

async function tried(
  { promise, meaning, run, title }: StoreCheck,
  { url, about, open, logger, signal }: Trial,
): Promise<StoragePromise> {
  throwIfAborted(signal, `testing ${about.url}`);
  if (promise === 'retention' && !about.retains) {
    return {
      promise,
      verdict: 'absent',
      detail: 'whoever has the credentials can delete everything',
      advice: 'keep a copy elsewhere, or use S3 with object lock (?lock=compliance)',
    };
  }
  const reopen = () => open(url, { create: true, logger });
  const make = async () => ({ store: await reopen(), reopen });
  try {
    await cancellable(runStoreCheck({ promise, meaning, run, title }, make, Date.now() % 1_000_000), signal);
    return { promise, verdict: 'kept', detail: meaning };
  } catch (error) {
    throwIfAborted(signal, `testing ${about.url}`);
    const found = error instanceof Error ? error.message : String(error);
    return {
      promise,
      verdict: 'broken',
      detail: `${found} (wanted: ${meaning})`,
      advice: 'keep no repository here: it could lose data',
    };
  }
}

/** Waits for the check even when cancelled: its folder can only be removed when nothing writes there any more. */
async function cancellable(check: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  await check;
  throwIfAborted(signal, 'testing storage');
}

async function measured({ url, open, logger, signal }: Trial): Promise<StorageFigures> {
  const store: ObjectStore = await open(url, { create: true, logger });
  try {
    return await measureStore(store, seededRandom(Date.now() % 1_000_000), signal);
  } finally {
    await store.close();
  }
}

function settling({ settleMs }: About): StoragePromise {
  const promise = 'settled lists';
  if (settleMs === 0)
    return { promise, verdict: 'kept', detail: 'what is stored or deleted is listed at once' };
  const seconds = Math.ceil(settleMs / 1000);
  return {
    promise,
    verdict: 'untested',
    detail: `other computers may see what is stored or deleted only after ${seconds} s; collections wait that long`,
  };
}

async function durability(url: string, warnings: readonly string[]): Promise<StoragePromise> {
  const promise = 'durability';
  const folder = folderOfUrl(url);
  if (warnings.length > 0) {
    const advice = 'use a server that can sync, and one with protected power';
    return { promise, verdict: 'absent', detail: warnings.join('; '), advice };
  }
  if (folder !== undefined) return { promise, verdict: 'untested', detail: await durabilityOfFolder(folder) };
  const detail = url.startsWith('sftp:')
    ? 'files are synced before they count; names in folders cannot be synced over SFTP and are up to the server'
    : 'what is stored counts when the server has answered; how safe it is then is up to the server';
  return { promise, verdict: 'untested', detail };
}

/** Passes everything on and remembers each warning once. */
function collecting(warnings: string[], logger: Logger): Logger {
  return createLogger(({ level, message, fields }) => {
    if (level === 'warn' && !warnings.includes(message)) warnings.push(message);
    logger[level](message, fields);
  });
}
