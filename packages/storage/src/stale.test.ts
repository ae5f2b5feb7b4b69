import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onceMoreWhenStale } from './stale.ts';

const failing = (...codes: (string | undefined)[]) => {
  const calls = { made: 0 };
  const task = async () => {
    const code = codes[calls.made];
    calls.made += 1;
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    return calls.made;
  };
  return { task, calls };
};

test('what is stale is asked for once more, anything else is raised at once', async () => {
  assert.equal(await onceMoreWhenStale('reading', failing(undefined).task), 1);
  assert.equal(await onceMoreWhenStale('reading', failing('ESTALE').task), 2);
  await assert.rejects(onceMoreWhenStale('reading', failing('ESTALE', 'ENOENT').task), { code: 'ENOENT' });
  await assert.rejects(onceMoreWhenStale('reading', failing('ESTALE', 'ESTALE').task), {
    code: 'io',
    retryable: true,
  });
  const other = failing('EIO');
  await assert.rejects(onceMoreWhenStale('reading', other.task), { code: 'EIO' });
  assert.equal(other.calls.made, 1);
});
