/** For tests: decides a session from outside, as a collection does with one it believes dead. */
import { MiB, silentLogger, systemClock } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import { parseConfig } from '../config.ts';
import { newContext } from '../context.ts';
import type { Secret } from '../contract.ts';
import { parseKeySlot, sealingKeys, unwrapKeySet } from '../crypto/keys.ts';
import { decide } from './sessions.ts';

export async function fenceForTest(store: ObjectStore, session: string, secret: Secret): Promise<void> {
  const { config } = parseConfig(Buffer.from(await store.get('config')).toString());
  for await (const { key } of store.list('keys/')) {
    const slot = parseKeySlot(Buffer.from(await store.get(key)).toString(), key);
    const keySet = await unwrapKeySet(slot, secret, config.id);
    if (!keySet) continue;
    const context = newContext({
      id: config.id,
      store,
      keys: sealingKeys(keySet, config.id, config.level),
      chunkSize: config.chunkSize,
      readBack: true,
      packBytes: MiB,
      workers: 1,
      clock: systemClock,
      logger: silentLogger,
    });
    await decide(context, {
      session,
      state: 'aborted',
      kind: 'backup',
      time: new Date().toISOString(),
      why: 'test',
    });
  }
}
