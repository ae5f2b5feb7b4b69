/** Jobs on a real database: run once, beside each other where they may, tried again, cancelled, adopted from the dead. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import { PrimaError, silentLogger, systemClock } from '@prima/base';
import { type Cleanup, temporaryFolder, waitUntil } from '@prima/testbed';
import { Sealer } from '../accounts/sealing.ts';
import { openState } from '../state/database.ts';
import { JobRunner, type JobRunnerOptions } from './job-runner.ts';
import { JobStore } from './job-store.ts';

async function jobs(t: Cleanup, options: Partial<JobRunnerOptions> = {}) {
  const state = await openState(join(await temporaryFolder(t), 'state.sqlite'));
  const organisation = { id: 'main', name: '', created: '', settings: '{}' };
  await state.db.insertInto('organisation').values(organisation).execute();
  const store = new JobStore(state, systemClock, new Sealer(randomBytes(32)));
  const runner = new JobRunner({
    store,
    clock: systemClock,
    logger: silentLogger,
    limits: { atOnce: 4 },
    run: async () => ({ result: 'done' }),
    mayBeginAgain: () => true,
    ...options,
  });
  t.after(async () => {
    await runner.close();
    await state.close();
  });
  const create = (more: object = {}) =>
    store.create({
      organisation: 'main',
      operation: 'check',
      summary: 'a job',
      request: {},
      requestedBy: 'me',
      ...more,
    });
  const ended = async (id: string) => {
    runner.wake();
    return waitUntil(
      async () => {
        const row = await store.get('main', id);
        return row.ended !== null && row;
      },
      { what: 'the job to end', intervalMs: 10 },
    );
  };
  return { state, store, runner, create, ended };
}

test('one machine’s jobs run one after the other, a host’s as many at once as it may', async (t) => {
  const running = new Set<string>();
  let most = 0;
  const { runner, create, ended } = await jobs(t, {
    run: async ({ machines, id }) => {
      assert.ok(![...running].some((other) => other.startsWith(machines)), 'one machine, two jobs');
      running.add(`${machines} ${id}`);
      most = Math.max(most, running.size);
      await systemClock.sleep(20);
      running.delete(`${machines} ${id}`);
      return { result: null };
    },
  });
  const ids: string[] = [];
  for (const machine of ['lab/a', 'lab/a', 'lab/b', 'lab/c'])
    ids.push((await create({ machines: [machine], host: { name: 'lab', atOnce: 2 } })).id);
  await runner.start();
  for (const id of ids) assert.equal((await ended(id)).state, 'succeeded');
  assert.equal(most, 2);
});

test('what may pass is tried again, as often as it was said; the rest is not', async (t) => {
  let runs = 0;
  const { runner, create, store, state, ended } = await jobs(t, {
    run: async ({ operation }) => {
      runs += 1;
      throw new PrimaError('busy', 'not now', { retryable: operation === 'check' });
    },
  });
  await runner.start();
  const { id } = await create({ attempts: 2 });
  runner.wake();
  await waitUntil(async () => (await store.get('main', id)).not_before !== null, {
    what: 'the second attempt',
  });
  assert.equal((await store.get('main', id)).state, 'queued');
  await state.db.updateTable('job').set({ not_before: null }).execute(); // its time has come
  const { state: end, attempt, error } = await ended(id);
  assert.deepEqual([end, attempt, runs], ['failed', 2, 2]);
  assert.match(error ?? '', /not now/);
  assert.equal((await ended((await create({ operation: 'copy', attempts: 5 })).id)).attempt, 1);
});

test('what follows from a job is done before its end is shown, and holds it up only so long', async (t) => {
  const seen: string[] = [];
  let follow = async () => {};
  const { runner, create, store, ended } = await jobs(t, {
    endedWithinMs: 200,
    ended: async ({ id, state, result }) => {
      seen.push(`${state} ${result}, shown as ${(await store.get('main', id)).state}`);
      await follow();
    },
  });
  await runner.start();
  assert.equal((await ended((await create()).id)).state, 'succeeded');
  assert.deepEqual(seen, ['succeeded "done", shown as running']);

  follow = async () => {
    throw new Error('the repository is away');
  };
  assert.equal((await ended((await create()).id)).state, 'succeeded');

  const forever = Promise.withResolvers<void>();
  follow = () => forever.promise;
  assert.equal((await ended((await create()).id)).state, 'succeeded');
  forever.resolve();
});

test('the same key is the same job; another request with it is refused', async (t) => {
  const { create } = await jobs(t);
  const first = await create({ idempotency: 'k', request: { a: 1 } });
  assert.equal((await create({ idempotency: 'k', request: { a: 1 } })).id, first.id);
  await assert.rejects(create({ idempotency: 'k', request: { a: 2 } }), { code: 'exists' });
  assert.doesNotMatch(first.request, /"a"/); // sealed
});

test('cancelled in the queue, and while it runs', async (t) => {
  const { runner, create, store, ended } = await jobs(t, {
    run: async (_, { signal }) => {
      await systemClock.sleep(60_000, signal);
      return { result: null };
    },
  });
  const waiting = await create();
  assert.equal((await store.cancel('main', waiting.id)).state, 'cancelled');
  await runner.start();
  const { id } = await create();
  runner.wake();
  await waitUntil(async () => (await store.get('main', id)).state === 'running', { what: 'it to run' });
  assert.equal((await store.cancel('main', id)).cancelling, 1);
  runner.cancel(id);
  assert.equal((await ended(id)).state, 'cancelled');
});

test('a job of a dead process is begun again where that is right, else it has failed and says so', async (t) => {
  const given: string[] = [];
  const { runner, create, store, state, ended } = await jobs(t, {
    mayBeginAgain: ({ operation }) => operation === 'check',
    abandoned: async ({ id }, end) => {
      given.push(`${id} ${end.state}, shown as ${(await store.get('main', id)).state}`);
      end.onEvent({ type: 'log', level: 'info', message: 'put right' });
    },
  });
  const dead = JSON.stringify({
    host: (await import('node:os')).hostname(),
    boot: 'another',
    pid: 1,
    pidStart: '1',
  });
  const [again, not] = [await create(), await create({ operation: 'recover' })];
  await state.db.updateTable('job').set({ state: 'running', attempt: 1, owner: dead }).execute();
  await runner.start();
  assert.deepEqual(pick(await ended(again.id)), ['succeeded', 2]);
  const failed = await ended(not.id);
  assert.deepEqual(pick(failed), ['failed', 1]);
  assert.match(failed.error ?? '', /the server ended during a job/);
  assert.deepEqual(given, [`${not.id} failed, shown as running`]);
  const told = await store.events(not.id, 0, 10);
  assert.ok(told.some(({ event }) => event.type === 'log' && event.message === 'put right'));
  const endless = await create();
  await state.db
    .updateTable('job')
    .set({ state: 'running', attempt: 4, owner: dead })
    .where('id', '=', endless.id)
    .execute();
  await runner.close();
  const next = new JobRunner({
    store,
    clock: systemClock,
    logger: silentLogger,
    limits: { atOnce: 1 },
    run: async () => ({ result: null }),
    mayBeginAgain: () => true,
  });
  await next.start();
  assert.equal((await ended(endless.id)).state, 'failed'); // a job in which the server always dies ends some time
  await next.close();
});

const pick = ({ state, attempt }: { state: string; attempt: number }) => [state, attempt];

test('what a job tells is numbered; newer progress takes the place of older', async (t) => {
  const { runner, create, store, ended } = await jobs(t, {
    run: async (_, { onEvent }) => {
      for (let done = 1; done <= 3; done += 1) {
        onEvent({ type: 'progress', subject: 'disk', done, total: 3 });
        onEvent({ type: 'log', level: 'info', message: `${done}` });
        await systemClock.sleep(1100); // each is written
      }
      return { result: null };
    },
  });
  await runner.start();
  const { id } = await create();
  await ended(id);
  await waitUntil(async () => (await store.events(id, 0, 100)).some(isEnd), { what: 'the last event' });
  const events = await store.events(id, 0, 100);
  assert.deepEqual(
    events.filter(({ event }) => event.type === 'progress').map(({ event }) => 'done' in event && event.done),
    [3],
  );
  assert.equal(events.filter(({ event }) => event.type === 'log').length, 3);
  assert.deepEqual(
    events.map((entry) => entry.id),
    events.map((entry) => entry.id).toSorted((a, b) => a - b),
  );
});

const isEnd = ({ event }: { event: { type: string; state?: string } }) =>
  event.type === 'state' && event.state === 'succeeded';

test('a worker has the jobs of its hosts alone, and none that was given to another since', async (t) => {
  const { state, store, runner, create } = await jobs(t);
  const worker = { organisation: 'main', id: 'w' };
  const now = store.now();
  const common = { organisation_id: 'main', name: 'branch' };
  await state.db
    .insertInto('worker')
    .values({ ...common, id: 'w', version: '1', hostname: 'h', at_once: 1, registered: now, seen: now })
    .execute();
  const place = { worker_id: 'w', platform: 'qemu' as const, location: '/' };
  await state.db
    .insertInto('worker_host')
    .values({ ...common, ...place })
    .execute();
  const { id } = await create({ host: { name: 'branch', atOnce: 1 } });
  const me = { host: 'elsewhere', boot: 'b', pid: 1, pidStart: '1' };
  assert.equal(await store.claim(me, { atOnce: 1 }, 0), undefined);
  assert.equal(await store.claimFor({ ...worker, organisation: 'client' }, me), undefined);
  const first = await store.claimFor(worker, me);
  assert.equal(first?.id, id);
  await runner.start();
  assert.equal((await store.get('main', id)).state, 'running', 'not judged before it was heard');

  await store.settle(first, { state: 'queued' });
  const second = await store.claimFor(worker, me);
  assert.equal(second?.attempt, 2);
  const lost = { code: 'state' };
  await assert.rejects(store.beat(first, undefined), lost);
  await assert.rejects(store.ofWorker(worker, first), lost);
  await assert.rejects(store.settle(first, { state: 'succeeded', result: 'stale' }), lost);
  assert.equal(await store.beat(second, undefined), false);
  for (let sent = 1; sent <= 2; sent += 1)
    await store.settle(second, { state: 'succeeded', result: 'fresh' });
  const ended = await store.get('main', id);
  assert.deepEqual([ended.state, ended.result], ['succeeded', '"fresh"']);
});
