/** How an organisation's machines and repositories stand, as conditions that people are told of. */
import type { Problem } from '@prima/api/http';
import { formatBytes, GiB } from '@prima/base';
import { type RepositoryParts, describeRepositories } from '../service/repositories.ts';
import type { Condition } from './conditions.ts';

const daysLeftWrong = 7;
/** Apart from the other, so that growth that wavers is not told each hour. */
const daysLeftWell = 14;

export async function lookAt(parts: RepositoryParts, organisation: string): Promise<Condition[]> {
  const now = new Date(parts.clock.now()).toISOString();
  const machines = await parts.state.db
    .selectFrom('machine')
    .select(['host', 'name', 'due'])
    .where('organisation_id', '=', organisation)
    .where('gone', '=', 0)
    .where('due', 'is not', null)
    .execute();
  const repositories = await describeRepositories(parts, organisation);
  return [
    ...machines.map(
      ({ host, name, due }): Condition => ({
        event: 'late',
        subject: `${host}/${name}`,
        isWrong: due !== null && due < now,
        reason: 'the last good point is older than promised',
        wellAgain: 'has a good point again, as promised',
      }),
    ),
    ...repositories.flatMap(({ name, error, freeBytes, daysLeft }) => [
      reachOf(name, error),
      ...(freeBytes === undefined ? [] : [roomOf(name, freeBytes, daysLeft)]),
    ]),
  ];
}

const reachOf = (name: string, error: Problem | undefined): Condition => ({
  event: 'repository',
  subject: name,
  isWrong: error !== undefined,
  reason: `cannot be read: ${error?.message ?? ''}`,
  wellAgain: 'can be read again',
});

function roomOf(name: string, free: number, daysLeft = Infinity): Condition {
  const isFull = free < GiB || daysLeft < daysLeftWrong;
  const isWell = free >= 2 * GiB && daysLeft >= daysLeftWell;
  const days = Number.isFinite(daysLeft) ? `, about ${Math.floor(daysLeft)} days at its growth` : '';
  return {
    event: 'repository',
    subject: `room in ${name}`,
    isWrong: isFull ? true : isWell ? false : undefined,
    reason: `${formatBytes(free)} are left${days}: make room, or keep less`,
    wellAgain: 'there is room again',
  };
}
