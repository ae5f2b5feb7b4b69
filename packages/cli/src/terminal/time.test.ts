import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatMinute, formatMoment } from './time.ts';

const now = Date.parse('2026-03-04T12:00:00Z');
const ago = (seconds: number) => formatAge(new Date(now - seconds * 1000).toISOString(), now);

test('ages are words', () => {
  const hour = 3600;
  const day = 24 * hour;
  assert.deepEqual(
    [0, 1, 59, 60, 59 * 60, hour, 47 * hour, 48 * hour, 13 * day, 14 * day, 61 * day, 800 * day].map(ago),
    [
      'just now',
      '1 s ago',
      '59 s ago',
      '1 min ago',
      '59 min ago',
      '1 h ago',
      '47 h ago',
      '2 days ago',
      '13 days ago',
      '2 weeks ago',
      '2 months ago',
      '2 years ago',
    ],
  );
});

test('a time ahead is said to be one, beyond what clocks differ', () => {
  assert.equal(ago(-30), 'just now');
  assert.equal(ago(-7200), 'in 2 h (a clock is wrong)');
  assert.equal(formatAge('nonsense', now), 'at an unknown time');
});

test('moments are local, with their distance from UTC', () => {
  const before = process.env['TZ'];
  try {
    process.env['TZ'] = 'Asia/Kolkata';
    assert.equal(formatMinute('2026-03-04T12:00:07Z'), '2026-03-04 17:30');
    assert.equal(formatMoment('2026-03-04T12:00:07Z'), '2026-03-04 17:30:07 +05:30');
    process.env['TZ'] = 'America/New_York';
    assert.equal(formatMoment('2026-03-04T12:00:07Z'), '2026-03-04 07:00:07 -05:00');
    assert.equal(formatMoment('nonsense'), 'nonsense');
  } finally {
    process.env['TZ'] = before ?? 'UTC';
  }
});
