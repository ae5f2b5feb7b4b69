/** How things stand, once a day, for channels that want it. */
import { formatBytes } from '@prima/base';
import { describeRepositories, type RepositoryParts } from '../service/repositories.ts';
import { countMachines } from '../service/overview.ts';
import { type ChannelRow, settingsOf } from './channels.ts';
import { dayIn } from './digest-day.ts';
import { nameOf, type Outbox } from './outbox.ts';

const dayMs = 86_400_000;

/** Of several servers one sends it. */
export async function sendDigests(parts: RepositoryParts, outbox: Outbox): Promise<void> {
  const { state, clock } = parts;
  for (const channel of await state.db.selectFrom('notification_channel').selectAll().execute()) {
    const { enabled, digest } = settingsOf(channel);
    if (!enabled || !digest) continue;
    const { day, hour } = dayIn(digest.zone, clock.now());
    if (hour < digest.hour || channel.digest_day === day) continue;
    const lines = await digestOf(parts, channel.organisation_id);
    await state.db.transaction().execute(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('notification_channel')
        .set({ digest_day: day })
        .where('id', '=', channel.id)
        .where((is) => is.or([is('digest_day', 'is', null), is('digest_day', '!=', day)]))
        .executeTakeFirst();
      if (numUpdatedRows > 0n) await outbox.put(db, channel, await digestMessage(db, channel, lines));
    });
  }
}

async function digestMessage(db: Parameters<typeof nameOf>[0], channel: ChannelRow, lines: string[]) {
  const organisation = await nameOf(db, channel.organisation_id);
  return { event: 'digest' as const, organisation, title: 'How things stand', lines };
}

async function digestOf(parts: RepositoryParts, organisation: string): Promise<string[]> {
  const now = parts.clock.now();
  const machines = await countMachines(parts.state, organisation, new Date(now).toISOString());
  const { total, protected: well, late, failed, unprotected } = machines;
  const repositories = await describeRepositories(parts, organisation);
  return [
    `Machines: ${total}; ${well} protected, ${late} late, ${failed} failed, ${unprotected} without a point`,
    ...repositories.map(({ name, stored = 0, growth, freeBytes, daysLeft, error }) => {
      const before = growth.findLast(({ time }) => Date.parse(time) <= now - dayMs)?.stored;
      const grown = before === undefined ? '' : `, ${signed(stored - before)} in a day`;
      const free = freeBytes === undefined ? '' : `, ${formatBytes(freeBytes)} free`;
      const days = daysLeft === undefined ? '' : `, about ${Math.floor(daysLeft)} days left`;
      return `${name}: ${formatBytes(stored)} stored${grown}${free}${days}${error ? '; it cannot be read' : ''}`;
    }),
  ];
}

const signed = (bytes: number): string => `${bytes < 0 ? '−' : '+'}${formatBytes(Math.abs(bytes))}`;
