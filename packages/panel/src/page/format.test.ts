import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, formatClock, formatDuration, formatRatio, formatRelative, plural } from './format.ts';

test('sizes are in binary units with three figures', () => {
  const said = [0, 1, 1023, 1024, 1536 * 2 ** 20, 120 * 2 ** 20, 2 ** 60].map(formatBytes);
  assert.deepEqual(said, ['0 B', '1 B', '1023 B', '1.00 KiB', '1.50 GiB', '120 MiB', '1024 PiB']);
});

test('times are told from now, in whole units', () => {
  const now = Date.parse('2026-01-10T12:00:00Z');
  const told = (time: string) => formatRelative(time, now);
  assert.equal(told('2026-01-10T11:59:30Z'), 'just now');
  assert.equal(told('2026-01-10T09:00:01Z'), '2 hours ago');
  assert.equal(told('2026-01-08T12:00:00Z'), '2 days ago');
  assert.equal(told('2026-01-10T12:05:00Z'), 'in 5 minutes');
});

test('the time of day has two digits each', () => {
  assert.equal(formatClock('2026-01-10T04:03:09.870Z', 'Europe/Berlin'), '05:03:09');
});

test('durations, ratios and counts', () => {
  assert.deepEqual([0.4, 350, 4000, 200_000, 7_500_000].map(formatDuration), [
    '1 ms',
    '350 ms',
    '4 s',
    '3 min 20 s',
    '2 h 5 min',
  ]);
  assert.equal(formatRatio(340, 100), '3.4 : 1');
  assert.equal(formatRatio(340, 0), '–');
  assert.deepEqual([plural(1, 'machine'), plural(1200, 'machine')], ['1 machine', '1,200 machines']);
});
