/** For tests: decides a session from outside, as a collection does with one it believes dead. */
import type { ObjectStore } from '@prima/storage';
import { contextForTest } from '../context-fixture.ts';
import type { Secret } from '../contract.ts';
import { decide } from './sessions.ts';

export async function fenceForTest(store: ObjectStore, session: string, secret: Secret): Promise<void> {
  const context = await contextForTest(store, secret);
  const time = new Date().toISOString();
  await decide(context, { session, state: 'aborted', kind: 'backup', time, why: 'test' });
}
