import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cronInWords } from './cron.ts';

test('schedules are told in words', () => {
  assert.equal(cronInWords('0 22 * * *'), 'at 22:00 every day');
  assert.equal(cronInWords('30 6,18 * * 1-5'), 'at 06:30 and 18:30 on Monday to Friday');
  assert.equal(cronInWords('*/15 * * * *'), 'every 15 minutes every day');
  assert.equal(cronInWords('5 3 1 * *'), 'at 03:05 on day 1 of the month');
  assert.equal(cronInWords('0 0 * 1,7 0'), 'at 00:00 on Sunday in January and July');
});

test('what is not five fields has no words', () => {
  for (const text of ['', '0 22 * *', '0 0 0 * * *']) assert.equal(cronInWords(text), undefined, text);
});
