import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import {
  countingStore,
  faultyStore,
  kindOfKey,
  memoryStore,
  parseSchedule,
  type StoreFault,
  writeSchedule,
} from './mod.ts';

const body = Buffer.from('hello');

/** A faulty store that does as it is told for the length of one task. */
function setUp() {
  const inner = countingStore(memoryStore());
  const state: { next: StoreFault | undefined } = { next: undefined };
  const store = faultyStore(inner, { random: seededRandom(1), faultAt: () => state.next });
  const during = async <T>(fault: StoreFault, task: () => Promise<T>) => {
    state.next = fault;
    return await task().finally(() => (state.next = undefined));
  };
  const keys = async () => (await Array.fromAsync(store.list(''))).map(({ key }) => key).join();
  return { inner, store, during, keys };
}

test('calls fail before or after they were done', async () => {
  const { inner, store, during, keys } = setUp();
  const failing = { code: 'io', retryable: true };
  await assert.rejects(
    during('fail', () => store.putIfAbsent('a', body)),
    failing,
  );
  assert.equal(inner.counts.put, 0);
  await assert.rejects(
    during('lost-answer', () => store.putIfAbsent('a', body)),
    failing,
  );
  assert.equal(await store.putIfAbsent('a', body), 'exists');
  for (const call of [() => store.get('a'), () => store.stat('a'), () => store.delete('a')]) {
    await assert.rejects(during<unknown>('fail', call), failing);
  }
  await assert.rejects(during('fail', keys), failing);
  assert.equal(await keys(), 'a');
  await assert.rejects(
    during('lost-answer', () => store.delete('a')),
    failing,
  );
  assert.equal(await keys(), '');
});

test('reads give too little, wrong bits, another object, or nothing', async () => {
  const { store, during, keys } = setUp();
  await store.putIfAbsent('log/1', body);
  await store.putIfAbsent('log/2', Buffer.from('world'));
  const read = async (fault: StoreFault) => Buffer.from(await during(fault, () => store.get('log/1')));
  assert.ok((await read('torn')).length < 5);
  const flipped = await read('flipped');
  assert.equal(flipped.length, 5);
  assert.notDeepEqual(flipped, body);
  assert.equal((await read('swapped')).toString(), 'world');
  await assert.rejects(read('missing'), { code: 'not-found' });
  assert.equal(await during('missing', () => store.stat('log/1')), undefined);
  assert.equal(await during('missing', keys), '');
  assert.ok((await during('listed-short', keys)).length < 'log/1,log/2'.length);
  assert.deepEqual(Buffer.from(await store.get('log/1')), body);
});

test('what was answered as done is damaged, late, or lost in a crash', async () => {
  const { inner, store, during, keys } = setUp();
  await during('torn', () => store.putIfAbsent('torn', body));
  assert.ok((await inner.get('torn')).length < 5);
  await during('flipped', () => store.putIfAbsent('wrong', body));
  assert.notDeepEqual(Buffer.from(await inner.get('wrong')), body);
  assert.equal(await during('late', () => store.putIfAbsent('late', body)), 'created');
  assert.equal(await store.putIfAbsent('late', body), 'exists');
  assert.equal(await store.stat('late'), undefined);
  await during('listed-late', () => store.putIfAbsent('unlisted', body));
  assert.equal((await store.stat('unlisted'))?.size, 5);
  assert.equal(await keys(), 'torn,wrong');
  await store.settle();
  assert.equal(await keys(), 'late,torn,unlisted,wrong');
  await during('late', () => store.delete('late'));
  await during('listed-late', () => store.delete('torn'));
  await assert.rejects(store.get('torn'), { code: 'not-found' });
  assert.equal(await keys(), 'late,torn,unlisted,wrong');
  await during('lost', () => store.delete('wrong'));
  await during('lost', () => store.putIfAbsent('lost', body));
  assert.equal(await keys(), 'late,lost,torn,unlisted');
  await store.crash();
  assert.equal(await keys(), 'unlisted,wrong');
});

test('faults keep their rates, can be repeated from their schedule, and end when it is calm', async () => {
  const run = async (faults: Parameters<typeof faultyStore>[1]) => {
    const store = faultyStore(memoryStore(), faults);
    const settled = Array.from({ length: 400 }, (_, index) =>
      store.putIfAbsent(`log/${String(index).padStart(10, '0')}`, body),
    );
    const outcomes = (await Promise.allSettled(settled)).map(({ status }) => status);
    store.calm();
    await store.putIfAbsent('log/after', body);
    return { outcomes, schedule: writeSchedule(store.injected) };
  };
  const rates = { fail: 0.1, 'lost-answer': 0.15, missing: 0.5 };
  const first = await run({ random: seededRandom(7), rates });
  const failed = first.outcomes.filter((status) => status === 'rejected').length;
  assert.ok(failed > 60 && failed < 140, `${failed} of 400 failed`);
  assert.match(first.schedule, /^put log\/~ \d+ (fail|lost-answer) \d+\n/);
  assert.deepEqual(await run({ random: seededRandom(7), rates }), first);
  const schedule = parseSchedule(first.schedule);
  assert.deepEqual(await run({ random: seededRandom(8), schedule }), first);
  assert.throws(() => parseSchedule('put log/~ 0 melted 1'), { code: 'format' });
  assert.throws(() => parseSchedule('stat log/~ 0 torn 1'), { code: 'format' });
});

test('keys of one kind are alike', () => {
  const id = 'ab12'.repeat(8);
  const kinds: Record<string, string> = {
    '': '.',
    config: 'config',
    [`packs/data/ab/${id}${id}`]: 'packs/data/~/~',
    [`index/${id}-12`]: 'index/~-~',
    [`sessions/${id}/beat-3`]: 'sessions/~/beat-~',
    [`sessions/${id}/outcome`]: 'sessions/~/outcome',
    'log/0000000001': 'log/~',
    'sessions/': 'sessions/',
  };
  for (const [key, kind] of Object.entries(kinds)) assert.equal(kindOfKey(key), kind);
});
