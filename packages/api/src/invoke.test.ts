import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallOptions } from './call.ts';
import type { PrimaApi } from './contract.ts';
import { invoke } from './invoke.ts';

const signal = new AbortController().signal;

test('an operation gets its request and options; one that is asked nothing, options alone', async () => {
  const calls: unknown[][] = [];
  const api = {
    keyList: async (...all: unknown[]) => calls.push(all),
    points: async (...all: unknown[]) => calls.push(all),
  } as unknown as PrimaApi;
  assert.equal(await invoke(api, 'keyList', {}, { signal }), 1);
  assert.equal(await invoke(api, 'points', { machine: 'a' }, { signal }), 2);
  assert.deepEqual(calls, [[{ signal }], [{ machine: 'a' }, { signal }]]);
});

test('what answers nothing answers null', async () => {
  const api = { keyRemove: async () => undefined } as unknown as PrimaApi;
  assert.equal(await invoke(api, 'keyRemove', { id: 'k1' }, { signal }), null);
});

test('an export says where it serves, works until it is cancelled, and is stopped then', async () => {
  const stopper = new AbortController();
  const uris = [{ disk: 'disk0', uri: 'nbd://[::1]:7/disk0' }];
  let stops = 0;
  const api = {
    export: async () => ({
      uris,
      stop: async () => {
        stops += 1;
      },
    }),
  } as unknown as PrimaApi;
  const heard = Promise.withResolvers<unknown>();
  const onEvent: CallOptions['onEvent'] = (event) => heard.resolve(event.type === 'log' && event.fields);
  const serving = invoke(api, 'export', { point: 'a' }, { signal: stopper.signal, onEvent });
  assert.deepEqual(await heard.promise, { uris });
  assert.equal(stops, 0);
  stopper.abort();
  await assert.rejects(serving, { code: 'cancelled' });
  assert.equal(stops, 1);
});
