/** For tests of keys and of the log: a small repository, what warns, and an installation that remembers. */
import { createLogger, KiB, MiB, silentLogger, systemClock } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { memoryStore, type ObjectStore } from '@prima/storage';
import { randomBytes } from 'node:crypto';
import { parseConfig } from './config.ts';
import { type Context, newContext } from './context.ts';
import type { Repository, Secret, SeenHead, Trust } from './contract.ts';
import type { Point } from './point.ts';
import { openKeyring } from './crypto/keyring.ts';
import { createRepository, openRepository } from './repository.ts';
import { ThreadReserve } from './pool/thread-reserve.ts';

export const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
const small = { workers: 1, packBytes: MiB };
const diskBytes = 256 * KiB;

/** An installation's memory, in memory. */
export function memoryTrust(): Trust & { heads: Map<string, SeenHead> } {
  const heads = new Map<string, SeenHead>();
  return {
    heads,
    load: async (id) => heads.get(id),
    save: async (id, head) => void heads.set(id, head),
  };
}

export interface Opened {
  repository: Repository;
  warnings: string[];
}

export async function open(store: ObjectStore, how: { with?: Secret; trust?: Trust } = {}): Promise<Opened> {
  const warnings: string[] = [];
  const logger = createLogger(({ level, message }) => {
    if (level === 'warn') warnings.push(message);
  });
  const options = { ...small, logger, ...(how.trust ? { trust: how.trust } : {}) };
  return { repository: await openRepository(store, how.with ?? secret, options), warnings };
}

export async function fresh(trust?: Trust): Promise<{ store: ObjectStore; repository: Repository }> {
  const store = memoryStore();
  const options = { secret, kdfCost, chunkSize: diskBytes, ...small, ...(trust ? { trust } : {}) };
  return { store, repository: await createRepository(store, options) };
}

/** A backup of one chunk of random bytes. */
export async function backup(repository: Repository): Promise<{ point: Point; bytes: Buffer }> {
  const bytes = randomBytes(diskBytes);
  const session = await repository.beginBackup();
  const device = memoryDevice(diskBytes);
  await device.write(0, bytes);
  const result = await session.writeDisk({ name: 'disk0', device });
  const time = new Date().toISOString();
  const point = await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: diskBytes, changed: 'all', ...result }],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
  });
  return { point, bytes };
}

export async function content(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    const bytes = Buffer.alloc(device.size);
    await device.read(0, bytes);
    return bytes;
  } finally {
    await device.close();
  }
}

/** What an attacker with a key and access to the store works with. */
export async function contextOf(store: ObjectStore, withSecret: Secret): Promise<Context> {
  const config = parseConfig(Buffer.from(await store.get('config')).toString());
  const { id: repositoryId, level, chunkSize } = config;
  const keyring = await openKeyring(store, withSecret, { repositoryId, level, logger: silentLogger });
  return newContext({
    store,
    keyring,
    chunkSize,
    readBack: true,
    packBytes: MiB,
    workers: 1,
    threads: new ThreadReserve(),
    clock: systemClock,
    logger: silentLogger,
  });
}

/** What somebody with all rights on the store can do to an object. */
export async function replace(store: ObjectStore, key: string, bytes: Uint8Array | string): Promise<void> {
  await store.delete(key);
  await store.putIfAbsent(key, Buffer.from(bytes));
}

export async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}
