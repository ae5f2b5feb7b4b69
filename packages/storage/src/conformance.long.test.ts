/** Every store of this package against the suite. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB, seededRandom } from '@prima/base';
import {
  cachedStore,
  countingStore,
  faultyStore,
  memoryStore,
  openLocalStore,
  rateLimitedStore,
  retryStore,
  storeConformance,
} from './mod.ts';

storeConformance('local', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-store-'));
  return {
    store: await openLocalStore(folder),
    reopen: () => openLocalStore(folder),
    dispose: () => rm(folder, { recursive: true }),
  };
});
storeConformance('memory', async () => ({ store: memoryStore() }));
storeConformance('memory with retention', async () => ({ store: memoryStore({ retention: true }) }));
storeConformance('counting', async () => ({ store: countingStore(memoryStore()) }));
storeConformance('faulty, without faults', async () => {
  return { store: faultyStore(memoryStore(), { random: seededRandom(1), delayMs: 0.5 }) };
});
storeConformance('retrying', async () => {
  const rates = { fail: 0.1, 'lost-answer': 0.1 };
  const troubled = faultyStore(memoryStore({ retention: true }), { random: seededRandom(2), rates });
  const patient = { firstDelayMs: 0.1, attempts: 30, random: seededRandom(3) };
  return { store: retryStore(troubled, patient), reopen: async () => retryStore(troubled, patient) };
});
storeConformance('rate-limited', async () => {
  const limits = { upload: 2e9, download: 2e9 };
  return { store: rateLimitedStore(memoryStore({ retention: true }), limits) };
});
storeConformance('cached', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cache-'));
  const inner = memoryStore({ retention: true });
  const open = () => cachedStore(inner, { folder, limitBytes: 64 * MiB });
  return {
    store: open(),
    reopen: async () => open(),
    dispose: () => rm(folder, { recursive: true }),
  };
});
