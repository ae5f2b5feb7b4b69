import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Random, seededRandom } from '@prima/base';
import { decideRetention, type KeepRules, type RetentionPoint } from './retention.ts';

let counter = 0;
function point(time: string, more: Partial<RetentionPoint> = {}): RetentionPoint {
  counter += 1;
  return {
    id: String(counter).padStart(8, '0'),
    machine: { id: 'm1', name: 'web01' },
    time,
    tags: [],
    warnings: [],
    skipped: [],
    ...more,
  };
}

function kept(points: RetentionPoint[], rules: KeepRules, timeZone = 'UTC'): string[] {
  return decideRetention(points, { rules, timeZone })
    .filter((decision) => decision.keep)
    .map((decision) => decision.point.time);
}

test('the newest of each day stays, and days without points are not counted', () => {
  const times = ['2026-03-01T01:00Z', '2026-03-01T23:00Z', '2026-03-05T10:00Z', '2026-03-09T10:00Z'];
  assert.deepEqual(
    kept(
      times.map((time) => point(time)),
      { daily: 3 },
    ),
    times.slice(1),
  );
});

test('weeks are those of ISO 8601', () => {
  // 2027-01-01 is a Friday: it lies in week 53 of 2026, with 2026-12-28
  const decisions = decideRetention(
    [point('2026-12-28T00:00Z'), point('2027-01-01T12:00Z'), point('2027-01-04T00:00Z')],
    { rules: { weekly: 5 }, timeZone: 'UTC' },
  );
  assert.deepEqual(
    decisions.map((decision) => decision.reasons),
    [[], ['weekly 2026-W53'], ['weekly 2027-W01', 'newest']],
  );
});

test('days begin by the clock of the time zone, and the repeated hour of autumn is two hours', () => {
  const times = ['2026-06-01T21:30Z', '2026-06-01T22:30Z'];
  assert.equal(
    kept(
      times.map((time) => point(time)),
      { daily: 9 },
      'UTC',
    ).length,
    1,
  );
  assert.equal(
    kept(
      times.map((time) => point(time)),
      { daily: 9 },
      'Europe/Berlin',
    ).length,
    2,
  );
  const autumn = ['2026-10-25T00:30Z', '2026-10-25T01:30Z']; // both 02:30 in Berlin
  assert.equal(
    kept(
      autumn.map((time) => point(time)),
      { hourly: 9 },
      'Europe/Berlin',
    ).length,
    2,
  );
});

test('machines are counted on their own, tags are kept, and reasons add up', () => {
  const other = { machine: { id: 'm2', name: 'db01' } };
  const decisions = decideRetention(
    [
      point('2026-01-01T00:00Z', { tags: ['golden'] }),
      point('2026-01-02T00:00Z'),
      point('2026-01-03T00:00Z'),
      point('2025-01-01T00:00Z', other),
    ],
    { rules: { last: 1, yearly: 1 }, keepTags: ['golden'], timeZone: 'UTC' },
  );
  assert.deepEqual(
    decisions.map((decision) => decision.reasons),
    [['tag golden'], [], ['last 1', 'yearly 2026', 'newest'], ['last 1', 'yearly 2025', 'newest']],
  );
});

test('the newest point without warnings stays although newer ones are kept', () => {
  const points = [
    point('2026-01-01T00:00Z'),
    point('2026-01-02T00:00Z'),
    point('2026-01-03T00:00Z', { warnings: ['disk1 was skipped'] }),
    point('2026-01-04T00:00Z', { skipped: [{ name: 'disk1', why: 'raw device' }] }),
  ];
  assert.deepEqual(kept(points, { last: 1 }), ['2026-01-02T00:00Z', '2026-01-04T00:00Z']);
});

test('no rule at all, or a wrong one, is refused', () => {
  assert.throws(() => kept([], {}), { code: 'usage' });
  assert.throws(() => kept([], { last: 0 }), { code: 'usage' });
  assert.throws(() => kept([], { last: 1.5 }), { code: 'usage' });
  assert.throws(() => kept([], { daily: -1 }), { code: 'usage' });
});

function randomPoints(random: Random): RetentionPoint[] {
  return Array.from({ length: random.below(60) }, () =>
    point(new Date(1_700_000_000_000 + random.below(400 * 24) * 3_600_000).toISOString(), {
      machine: { id: `m${random.below(3)}`, name: 'x' },
      warnings: random.below(4) === 0 ? ['w'] : [],
    }),
  );
}

function randomRules(random: Random): KeepRules {
  return {
    last: 1 + random.below(4),
    daily: random.below(8),
    weekly: random.below(5),
    yearly: random.below(3),
  };
}

test('whatever the points and rules: bounds, newest, and forgetting twice changes nothing', (t) => {
  const seed = Date.now() % 2 ** 32;
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const points = randomPoints(random);
    const rules = randomRules(random);
    const options = { rules, timeZone: 'Europe/Berlin' };
    const decisions = decideRetention(points, options);
    const keep = decisions.filter((decision) => decision.keep).map((decision) => decision.point);
    const context = `seed ${seed} round ${round}`;
    for (const [machine, own] of Map.groupBy(points, (p) => p.machine.id)) {
      const left = keep.filter((p) => p.machine.id === machine);
      const total = Object.values(rules).reduce((sum: number, count: number) => sum + count, 0);
      assert.ok(left.length >= Math.min(own.length, rules.last ?? 0), context);
      assert.ok(left.length <= total + 2, context);
      const newest = Math.max(...own.map((p) => Date.parse(p.time)));
      assert.ok(
        left.some((p) => Date.parse(p.time) === newest),
        context,
      );
    }
    const again = decideRetention(keep, options);
    assert.ok(
      again.every((decision) => decision.keep),
      context,
    );
    const more = decideRetention(points, { ...options, rules: { ...rules, daily: (rules.daily ?? 0) + 1 } });
    assert.ok(
      decisions.every((decision, i) => !decision.keep || more[i]?.keep),
      context,
    );
  }
});

test('a locked point stays until its lock ends, and says so', () => {
  const points = [
    point('2026-03-01T01:00Z', { lockedUntil: '2026-04-01T00:00:00.000Z' }),
    point('2026-03-02T01:00Z'),
    point('2026-03-03T01:00Z'),
  ];
  const reasons = (now: number) =>
    decideRetention(points, { rules: { last: 1 }, now }).map((decision) => decision.reasons);
  assert.deepEqual(reasons(Date.UTC(2026, 2, 31)), [
    ['locked until 2026-04-01T00:00:00.000Z'],
    [],
    ['last 1', 'newest'],
  ]);
  assert.deepEqual(reasons(Date.UTC(2026, 3, 1)), [[], [], ['last 1', 'newest']]);
});
