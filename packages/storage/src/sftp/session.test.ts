import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import type { SFTPWrapper } from 'ssh2';
import type { SftpConnection } from './connection.ts';
import { type Answer, LostConnectionError, SftpSession, SftpStatusError } from './session.ts';

/** A session over a connection that answers when the test wants it to. */
function session(timeoutMs = 60_000) {
  const state = { destroyed: false, lose: (_reason: string): void => undefined };
  const connection: SftpConnection = {
    sftp: {} as SFTPWrapper, // passed through to `ask` only
    onLost: (listener) => {
      state.lose = listener;
    },
    destroy: () => {
      state.destroyed = true;
    },
  };
  return { state, session: new SftpSession(connection, { timeoutMs, url: 'sftp://h/x' }) };
}

const never = () => undefined;

test('answers, refusals and what ssh2 raises itself are told apart', async () => {
  const { session: one } = session();
  assert.equal(await one.request('asking', (_, answer: Answer<number>) => answer(undefined, 7)), 7);
  const refused = Object.assign(new Error('Failure'), { code: 4 });
  await assert.rejects(
    one.request('asking', (_, answer) => answer(refused)),
    (error) => error instanceof SftpStatusError && error.status === 4 && error.code === 'io',
  );
  const unknown = () => {
    throw new Error('Server does not support this extended request');
  };
  await assert.rejects(one.request('asking', unknown), { code: 'unsupported' });
  await assert.rejects(
    one.request('asking', (_, answer) => answer(new Error('No response from server'))),
    LostConnectionError,
  );
});

test('when the connection is lost every request ends, and later ones at once', async () => {
  const { session: one, state } = session();
  const asked = [one.request('asking a', never), one.request('asking b', never)];
  await turn();
  state.lose('it was closed');
  for (const request of asked)
    await assert.rejects(request, { code: 'remote', retryable: true, message: /it was closed/ });
  await assert.rejects(one.request('asking c', never), LostConnectionError);
  assert.deepEqual([one.lost, state.destroyed], [true, true]);
});

test('a silent server is given up, and one that answers everything but one request as well', async () => {
  const silent = session(20);
  await assert.rejects(silent.session.request('asking', never), {
    code: 'timeout',
    message: /no answer within 0\.02 s/,
  });
  assert.equal(silent.state.destroyed, true);
  const { session: one } = session(20);
  const forgotten = one.request('asking', never);
  const failed = assert.rejects(forgotten, { code: 'timeout' });
  while (!one.lost) {
    await one
      .request('asking', (_, answer: Answer<void>) => answer(undefined))
      .catch((error: unknown) => assert.ok(error instanceof LostConnectionError));
    await turn();
  }
  await failed;
});

test('64 requests are under way at once, and a cancelled one makes room', async () => {
  const { session: one } = session();
  let asked = 0;
  const stop = new AbortController();
  const requests = Array.from({ length: 70 }, () =>
    one
      .request('asking', () => void (asked += 1), stop.signal)
      .catch((error: { code: string }) => error.code),
  );
  await turn();
  assert.equal(asked, 64);
  stop.abort();
  assert.deepEqual(new Set(await Promise.all(requests)), new Set(['cancelled']));
  assert.equal(asked, 64);
  assert.equal(one.lost, false);
  one.close();
});
