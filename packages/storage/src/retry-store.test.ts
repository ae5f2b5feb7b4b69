import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, type LogEvent, MiB, PrimaError, RemoteError, seededRandom } from '@prima/base';
import { filterStore, type StoreFilter } from './filter-store.ts';
import { memoryStore, type ObjectStore, retryStore, type RetryOptions } from './mod.ts';
import { VirtualClock } from './virtual-clock-fixture.ts';

const lost = (what = 'the connection was reset') => new RemoteError(what, { retryable: true });
const forever = () => new Promise<never>(() => undefined);

/** A store over one in memory, with retries on a virtual clock. */
function setUp(filter: (inner: ObjectStore) => StoreFilter, options: RetryOptions = {}) {
  const inner = memoryStore();
  const clock = new VirtualClock();
  const events: LogEvent[] = [];
  const logger = createLogger((event) => events.push(event));
  const store = retryStore(filterStore(inner, filter(inner)), {
    clock,
    random: seededRandom(5),
    logger,
    ...options,
  });
  return { inner, clock, events, store };
}

test('a retryable error is tried again, later and later, and each retry is logged with its reason', async () => {
  let calls = 0;
  const { clock, events, store } = setUp(() => ({
    stat: async (key) => {
      calls += 1;
      if (calls > 1 && calls < 9) throw lost();
      return { key, size: 3, modified: 0 };
    },
  }));
  await store.stat('config'); // from now on the store is known to answer
  assert.equal((await clock.run(store.stat('config')))?.size, 3);
  assert.equal(calls, 9);
  assert.equal(events.length, 7);
  for (const [index, { message, fields }] of events.entries()) {
    assert.match(
      message,
      /^looking for config in memory: the connection was reset; try \d of 12 in [\d.]+ m?s$/,
    );
    const delayMs = Number(fields?.['delayMs']);
    assert.ok(delayMs >= 0 && delayMs <= Math.min(20_000, 250 * 2 ** index), `${index}: ${delayMs}`);
  }
});

test('what is final is not tried again, and tries end', async () => {
  let calls = 0;
  let error: unknown = new PrimaError('permission', 'no');
  const { clock, store } = setUp(() => ({
    get: async () => {
      calls += 1;
      throw error;
    },
  }));
  await assert.rejects(clock.run(store.get('a')), { code: 'permission' });
  assert.equal(calls, 1);
  error = lost();
  await assert.rejects(clock.run(store.get('a')), { code: 'remote' });
  assert.equal(calls, 1 + 4, 'a store that never answered');
  await store.stat('a');
  await assert.rejects(clock.run(store.get('a')), { code: 'remote' });
  assert.equal(calls, 1 + 4 + 12);
});

test('all tries together have a deadline', async () => {
  const { clock, store } = setUp(() => ({ get: forever }), {
    attemptMs: 50_000,
    totalMs: 120_000,
  });
  await store.stat('a');
  await assert.rejects(clock.run(store.get('a', { offset: 0, length: 0 })), { code: 'timeout' });
  assert.ok(clock.time >= 120_000 - 20_000 && clock.time <= 170_000, `${clock.time}`);
});

test('a try without an answer is given up, with more time for long bodies', async () => {
  let hang = true;
  const aborted: unknown[] = [];
  const { clock, store } = setUp((inner) => ({
    putIfAbsent: (key, body, options) => {
      if (!hang) return inner.putIfAbsent(key, body, options);
      hang = false;
      options?.signal?.addEventListener('abort', () => aborted.push(options.signal?.reason));
      return forever();
    },
  }));
  await store.stat('a');
  assert.equal(await clock.run(store.putIfAbsent('packs/a', new Uint8Array(MiB))), 'created');
  assert.ok(clock.time >= 60_000 + 16_000 && clock.time < 80_000, `${clock.time}`);
  assert.equal(aborted.length, 1);
});

test('stores that pace are given up when they stand still, not when they wait for their turn', async () => {
  let paced = 0;
  const { clock, store } = setUp((inner) => ({
    paces: true,
    get: async (key, range, options) => {
      for (let piece = 0; piece < 5; piece += 1) await options?.pace?.(10);
      return inner.get(key, range, options);
    },
  }));
  await store.putIfAbsent('a', new Uint8Array(50));
  const pace = async (bytes: number) => {
    paced += bytes;
    await clock.sleep(100_000);
  };
  assert.equal((await clock.run(store.get('a', undefined, { pace }))).length, 50);
  assert.equal(paced, 50);
  assert.ok(clock.time >= 500_000);
});

test('a put of which the answer was lost is ours when the bytes there are', async () => {
  let loseAnswers = 0;
  const { clock, inner, store } = setUp((from) => ({
    putIfAbsent: async (key, body, options) => {
      const answer = await from.putIfAbsent(key, body, options);
      if (loseAnswers > 0) {
        loseAnswers -= 1;
        throw lost();
      }
      return answer;
    },
  }));
  const body = [Buffer.from('out'), Buffer.from('come')];
  loseAnswers = 2;
  assert.equal(await clock.run(store.putIfAbsent('sessions/a/outcome', body)), 'created');
  assert.equal(
    await clock.run(store.putIfAbsent('sessions/a/outcome', body)),
    'exists',
    'no answer was lost',
  );
  await inner.putIfAbsent('sessions/b/outcome', Buffer.from('another'));
  await inner.putIfAbsent('sessions/c/outcome', Buffer.from('longer than ours'));
  for (const key of ['sessions/b/outcome', 'sessions/c/outcome']) {
    loseAnswers = 1;
    assert.equal(await clock.run(store.putIfAbsent(key, body)), 'exists');
  }
});

test('a list goes on after the last key it gave, never twice and never out of order', async () => {
  const random = seededRandom(9);
  const { clock, inner, store } = setUp((from) => ({
    list: async function* (prefix, options) {
      for await (const info of from.list(prefix, options)) {
        if (random.below(50) === 0) throw lost();
        if (random.below(200) === 0) await forever();
        yield info;
      }
    },
  }));
  const keys = Array.from({ length: 60 }, (_, index) => `objects/o${String(index).padStart(3, '0')}`);
  await Promise.all(keys.map((key) => inner.putIfAbsent(key, new Uint8Array(1))));
  await store.stat('a');
  const found = await clock.run(Array.fromAsync(store.list('objects/'), ({ key }) => key));
  assert.deepEqual(found, keys);
  for await (const { key } of store.list('objects/', { signal: AbortSignal.timeout(60_000) })) {
    assert.equal(key, keys[0]);
    break;
  }
});

test('waiting for the next try can be cancelled', async () => {
  const stop = new AbortController();
  const { store } = setUp(() => ({
    delete: async () => {
      setImmediate(() => stop.abort());
      throw lost();
    },
  }));
  await assert.rejects(store.delete('a', { signal: stop.signal }), { code: 'cancelled' });
});
