/** The demonstration, as people see it first: everything comes back, and nothing of it stays. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createApplication } from '@prima/server';
import { temporaryFolder } from '@prima/testbed';

test('the demonstration loses no record and leaves nothing behind', async (t) => {
  const folder = await temporaryFolder(t);
  const api = await createApplication({ home: join(folder, 'home') });
  t.after(() => api.close());
  const said: string[] = [];
  const result = await api.demo(
    { folder: join(folder, 'demo') },
    { onEvent: (event) => event.type === 'log' && said.push(`${event.level} ${event.message}`) },
  );
  assert.equal(result.ok, true, said.join('\n'));
  const steps = result.steps.map(({ step }) => step).join('; ');
  for (const part of ['hot backup, the first', 'incremental', 'warm', 'cold'])
    assert.ok(steps.includes(part), part);
  const [, incremental] = result.steps.filter(({ step }) => step.startsWith('hot backup'));
  assert.match(incremental?.detail ?? '', /quiesced.*only what changed/);
  assert.deepEqual(await readdir(join(folder, 'demo')), []);
  assert.deepEqual(await readdir(join(folder, 'home', 'journal')), []);
});

test('cancelling the demonstration kills its machine and removes its folder', async (t) => {
  const folder = await temporaryFolder(t);
  const api = await createApplication({ home: join(folder, 'home') });
  t.after(() => api.close());
  const controller = new AbortController();
  const demo = api.demo(
    { folder: join(folder, 'demo') },
    {
      signal: controller.signal,
      onEvent: (event) => event.type === 'log' && event.message.includes('works') && controller.abort(),
    },
  );
  await assert.rejects(demo, { code: 'cancelled' });
  assert.deepEqual(await readdir(join(folder, 'demo')), []);
  assert.deepEqual(await readdir(join(folder, 'home', 'journal')), []);
});
