/** Every store of this package against the suite. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '@prima/base';
import { countingStore, faultyStore, memoryStore, openLocalStore, storeConformance } from './mod.ts';

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
