import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Clock, systemClock } from '@prima/base';
import type { NotificationTarget } from '@prima/api/http';
import { temporaryFolder } from '@prima/testbed';
import { Sealer } from '../accounts/sealing.ts';
import { openState } from '../state/database.ts';
import { Channels } from './channels.ts';
import { Happenings } from './happenings.ts';
import type { Message } from './message.ts';
import { Outbox } from './outbox.ts';

test('a hundred failures within a minute for one reason are one message, however many servers gather', async (t) => {
  const state = await openState(join(await temporaryFolder(t), 'state.sqlite'));
  t.after(() => state.close());
  const { db } = state;
  let now = Date.parse('2026-01-01T00:00:00Z');
  const clock: Clock = { ...systemClock, now: () => now };
  const organisation = { id: 'main', name: 'Main', created: '2026-01-01T00:00:00.000Z', settings: '{}' };
  await db.insertInto('organisation').values(organisation).execute();
  const channels = new Channels({ db, clock, sealer: new Sealer(new Uint8Array(32)) });
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  const outbox = new Outbox({ db, clock, logger, channels, pauseMs: 10_000 });
  const servers = [1, 2].map(() => new Happenings({ db, clock, outbox, gatherMs: 60_000 }));
  const [first] = servers;
  assert.ok(first);
  const target: NotificationTarget = { kind: 'slack', url: 'https://hooks.invalid/x' };
  const add = (name: string, events: ('job-failed' | 'late')[]) =>
    channels.add('main', { name, enabled: true, events, target });
  const { id } = await add('failures', ['job-failed']);
  await add('others', ['late']);
  for (let count = 0; count < 100; count += 1) {
    const happening = {
      organisation: 'main',
      event: 'job-failed' as const,
      subject: `back up kvm/vm${count}`,
    };
    await first.raise({ ...happening, reason: 'the host is away' });
    now += 500;
  }
  const messages = async () =>
    (await db.selectFrom('notification_message').selectAll().execute()).map((row) => ({
      channel: row.channel_id,
      content: JSON.parse(row.content) as Message,
    }));
  await first.gather();
  assert.deepEqual(await messages(), []);
  now += 10_000;
  await Promise.all(servers.map((server) => server.gather()));
  const [only, ...more] = await messages();
  assert.deepEqual(more, []);
  assert.equal(only?.channel, id);
  assert.equal(only.content.title, 'Jobs failed (100)');
  assert.match(only.content.lines.join('|'), /^back up kvm\/vm0, .* and 90 more: the host is away$/);
  now += 120_000;
  await first.gather();
  assert.equal((await messages()).length, 1);
});
