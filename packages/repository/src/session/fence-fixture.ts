/** For tests: decides a session from outside, as a collection does with one it believes dead. */
import { MiB, silentLogger, systemClock } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import { parseConfig } from '../config.ts';
import { newContext } from '../context.ts';
import type { Secret } from '../contract.ts';
import { openKeyring } from '../crypto/keyring.ts';
import { decide } from './sessions.ts';

export async function fenceForTest(store: ObjectStore, session: string, secret: Secret): Promise<void> {
  const {
    id: repositoryId,
    level,
    chunkSize,
  } = parseConfig(Buffer.from(await store.get('config')).toString());
  const logger = silentLogger;
  const context = newContext({
    store,
    keyring: await openKeyring(store, secret, { repositoryId, level, logger }),
    chunkSize,
    readBack: true,
    packBytes: MiB,
    workers: 1,
    clock: systemClock,
    logger,
  });
  const time = new Date().toISOString();
  await decide(context, { session, state: 'aborted', kind: 'backup', time, why: 'test' });
}
