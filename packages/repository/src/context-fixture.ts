/** For tests and benchmarks: the inside of an open repository. */
import { MiB, silentLogger, systemClock } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import { parseConfig } from './config.ts';
import { type Context, newContext } from './context.ts';
import type { Secret } from './contract.ts';
import { openKeyring } from './crypto/keyring.ts';
import { ThreadReserve } from './pool/thread-reserve.ts';

export async function contextForTest(store: ObjectStore, secret: Secret, packBytes = MiB): Promise<Context> {
  const config = parseConfig(Buffer.from(await store.get('config')).toString());
  const { id: repositoryId, level, chunkSize } = config;
  const logger = silentLogger;
  return newContext({
    store,
    keyring: await openKeyring(store, secret, { repositoryId, level, logger }),
    chunkSize,
    readBack: true,
    packBytes,
    workers: 1,
    threads: new ThreadReserve(),
    clock: systemClock,
    logger,
  });
}
