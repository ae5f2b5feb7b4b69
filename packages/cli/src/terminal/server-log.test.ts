import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeOutput } from '../fake-environment.ts';
import type { LogFormat } from './log-format.ts';
import { serverLogger } from './server-log.ts';

const clock = { now: () => Date.parse('2026-03-04T15:30:00Z') };

function said(columns: number | undefined, verbose: boolean, format?: LogFormat): string[] {
  const out = new FakeOutput(columns);
  const log = serverLogger(out, { format, verbose, clock });
  log.debug('looked');
  log.warn('kvm1: no answer\nin time', { host: 'kvm1', request: { passphrase: 'hush' } });
  return out.text.split('\n').slice(0, -1);
}

test('at a terminal: time, level and message, a line each', () => {
  assert.deepEqual(said(80, true), [
    '2026-03-04T15:30:00.000Z debug looked',
    '2026-03-04T15:30:00.000Z warn  kvm1: no answer in time',
  ]);
  assert.equal(said(80, false).length, 1);
  assert.deepEqual(said(undefined, false, 'text'), said(80, false));
});

test('elsewhere: JSON, with fields and without secrets', () => {
  const [line = ''] = said(undefined, false);
  const { time, ...rest } = JSON.parse(line) as Record<string, unknown>;
  assert.ok(Number.isFinite(Date.parse(String(time))));
  assert.deepEqual(rest, {
    level: 'warn',
    message: 'kvm1: no answer\nin time',
    host: 'kvm1',
    request: { passphrase: '[Redacted]' },
  });
  assert.equal(said(80, true, 'json').length, 2);
});
