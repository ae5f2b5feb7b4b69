import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Clock, createLogger, systemClock } from '@prima/base';
import type { NotificationTarget } from '@prima/api/http';
import { temporaryFolder } from '@prima/testbed';
import { Sealer } from '../accounts/sealing.ts';
import { Tenants } from '../service/tenants.ts';
import { openState } from '../state/database.ts';
import { Channels } from './channels.ts';
import { tellChanges } from './conditions.ts';
import { sendDigests } from './digest.ts';
import { Happenings } from './happenings.ts';
import { lookAt } from './look.ts';
import type { Message } from './message.ts';
import { Outbox } from './outbox.ts';

const target: NotificationTarget = { kind: 'slack', url: 'https://hooks.invalid/x' };

async function world(t: Parameters<typeof temporaryFolder>[0]) {
  const home = await temporaryFolder(t);
  const state = await openState(join(home, 'state.sqlite'));
  t.after(() => state.close());
  const { db } = state;
  const at = { now: Date.parse('2026-03-01T08:30:00Z') };
  const clock: Clock = { ...systemClock, now: () => at.now };
  const organisation = { id: 'main', name: 'Main', created: '2026-01-01T00:00:00.000Z', settings: '{}' };
  await db.insertInto('organisation').values(organisation).execute();
  const sealer = new Sealer(new Uint8Array(32));
  const logger = createLogger(() => undefined);
  const tenants = new Tenants({ db, home, sealer, logger });
  const channels = new Channels({ db, clock, sealer });
  const outbox = new Outbox({ db, clock, logger, channels, pauseMs: 10_000 });
  const happenings = new Happenings({ db, clock, outbox, gatherMs: 0 });
  const messages = async () =>
    (await db.selectFrom('notification_message').orderBy('created').selectAll().execute()).map(
      ({ content }) => JSON.parse(content) as Message,
    );
  await db
    .insertInto('machine')
    .values({
      organisation_id: 'main',
      host: 'kvm',
      name: 'web',
      machine_id: 'm',
      state: 'running',
      memory: 1,
      cpus: 1,
      disk_bytes: 1,
      disks: 1,
      agent: 'none',
      seen: organisation.created,
      gone: 0,
      detail: '{}',
      policies: '[]',
      promise_hours: 24,
      points: 1,
      last_point: '2026-03-01T00:00:00.000Z',
      due: '2026-03-02T00:00:00.000Z',
      last_error: null,
    })
    .execute();
  return { at, state, db, clock, tenants, channels, outbox, happenings, messages };
}

test('a machine that becomes late is told once, and once when it is well again, however many servers look', async (t) => {
  const { at, state, db, clock, tenants, channels, happenings, messages } = await world(t);
  await channels.add('main', { name: 'all', enabled: true, events: ['late'], target });
  const look = async () => {
    const looked = await lookAt({ state, clock, tenants }, 'main');
    const parts = { db, clock, happenings };
    await Promise.all([tellChanges(parts, 'main', looked), tellChanges(parts, 'main', looked)]);
    await happenings.gather();
    return (await messages()).map(({ lines }) => lines.join());
  };
  assert.deepEqual(await look(), []);
  at.now += 24 * 3_600_000;
  const late = ['kvm/web: the last good point is older than promised'];
  assert.deepEqual(await look(), late);
  at.now += 3_600_000;
  assert.deepEqual(await look(), late);
  await db.updateTable('machine').set({ due: '2026-04-01T00:00:00.000Z' }).execute();
  const well = [...late, 'kvm/web: has a good point again, as promised'];
  assert.deepEqual(await look(), well);
  assert.deepEqual(await look(), well);
});

test('a digest comes once a day, at its hour in its zone', async (t) => {
  const { at, state, clock, tenants, channels, outbox, messages } = await world(t);
  const digest = { hour: 10, zone: 'Europe/Berlin' };
  await channels.add('main', { name: 'daily', enabled: true, events: [], digest, target });
  await channels.add('main', { name: 'none', enabled: true, events: [], target });
  const send = async () => {
    const parts = { state, clock, tenants };
    await Promise.all([sendDigests(parts, outbox), sendDigests(parts, outbox)]);
    return messages();
  };
  assert.deepEqual(await send(), []); // 9:30 there
  at.now += 3_600_000;
  const [first, ...more] = await send();
  assert.deepEqual(more, []);
  assert.equal(first?.event, 'digest');
  assert.deepEqual(first.lines, ['Machines: 1; 1 protected, 0 late, 0 failed, 0 without a point']);
  at.now += 3_600_000;
  assert.equal((await send()).length, 1);
  at.now += 24 * 3_600_000;
  assert.equal((await send()).length, 2);
});
