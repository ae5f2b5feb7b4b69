import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '@prima/base';
import { runFake } from '../fake-environment.ts';

const env = { PRIMA_SERVER: 'https://prima.example', PRIMA_TOKEN: 't0ken', HOME: '/home/ada' };

async function asked(...args: string[]): Promise<{ path: string; stdout: string }> {
  let path = '';
  const lines = (of: string) => {
    path = of;
    return ['{"sequence":1}', '{"sequence":2}'];
  };
  const { status, stdout, stderr } = await runFake(['audit', 'export', ...args], { env, lines });
  assert.equal(status, 0, stderr);
  return { path, stdout };
}

test('the lines are printed as they come', async () => {
  const { path, stdout } = await asked();
  assert.equal(path, '/api/v1/audit/export');
  assert.equal(stdout, '{"sequence":1}\n{"sequence":2}\n');
});

test('times are days or ISO 8601, in UTC where no zone is said', async () => {
  const { path } = await asked('--from', '2026-01-31', '--to', '2026-02-01T01:30+02:00');
  assert.deepEqual(Object.fromEntries(new URLSearchParams(path.split('?')[1])), {
    from: '2026-01-31T00:00:00.000Z',
    to: '2026-01-31T23:30:00.000Z',
  });
  for (const text of ['yesterday', '31.1.2026', '2026-13-01', '2026-01-31T10:00']) {
    const { status, stderr } = await runFake(['audit', 'export', '--to', text], { env });
    assert.equal(status, errorCodes.usage.exit, text);
    assert.match(stderr, /--to .* is no time/);
  }
});

test('it asks a server, and says so where there is none', async () => {
  const { status, stderr } = await runFake(['audit', 'export'], { env: { HOME: '/home/ada' } });
  assert.equal(status, errorCodes.usage.exit);
  assert.match(stderr, /asks a server: give --server URL/);
});
