import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitUntil } from './wait.ts';

test('gives what the predicate gave, once it is true', async () => {
  let calls = 0;
  const found = await waitUntil(() => (calls++ > 2 ? 'there' : undefined), { what: 'it', intervalMs: 1 });
  assert.equal(found, 'there');
});

test('a deadline names what was waited for; what the predicate raises goes through', async () => {
  await assert.rejects(
    waitUntil(() => false, { what: 'the moon', timeoutMs: 20, intervalMs: 1 }),
    {
      code: 'timeout',
      message: /the moon/,
    },
  );
  const wrong = () => {
    throw new Error('wrong');
  };
  await assert.rejects(waitUntil(wrong, { what: 'it' }), /wrong/);
});
