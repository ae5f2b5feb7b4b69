import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cronInWords, nextRuns } from './cron.ts';

test('schedules are told in words', () => {
  assert.equal(cronInWords('0 22 * * *'), 'at 22:00 every day');
  assert.equal(cronInWords('30 6,18 * * 1-5'), 'at 06:30 and 18:30 on Monday to Friday');
  assert.equal(cronInWords('*/15 * * * *'), 'every 15 minutes every day');
  assert.equal(cronInWords('5 3 1 * *'), 'at 03:05 on day 1 of the month');
  assert.equal(cronInWords('0 0 * 1,7 0'), 'at 00:00 on Sunday in January and July');
});

test('what is no schedule has no words and no runs', () => {
  for (const text of ['', '0 22 * *', '99 * * * *', '0 0 0 * * *']) {
    assert.equal(cronInWords(text), undefined, text);
    assert.deepEqual(nextRuns(text, 'UTC', 5), []);
  }
  assert.deepEqual(nextRuns('0 1 * * *', 'Nowhere/Land', 5), []);
});

test('the next runs are in the time zone of the schedule', () => {
  const from = new Date('2026-03-28T12:00:00Z'); // the night after, clocks go forward in Berlin
  assert.deepEqual(nextRuns('0 22 * * *', 'Europe/Berlin', 2, from), [
    '2026-03-28T21:00:00.000Z',
    '2026-03-29T20:00:00.000Z',
  ]);
});
