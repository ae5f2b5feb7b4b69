import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pointsOfMachine, resolvePoint } from './point-names.ts';

const web = { id: 'uuid-1', name: 'web01', host: 'lab' };
const points = [
  { id: 'aaaa1111', machine: web, time: '2026-03-01T10:00:00.000Z' },
  { id: 'aaaa2222', machine: web, time: '2026-03-02T10:00:30.000Z' },
  { id: 'bbbb3333', machine: { id: 'uuid-2', name: 'db01' }, time: '2026-03-03T10:00:00.000Z' },
  { id: 'cccc4444', machine: { id: 'uuid-3', name: 'twin' }, time: '2026-03-01T00:00:00.000Z' },
  { id: 'cccc5555', machine: { id: 'uuid-4', name: 'twin' }, time: '2026-03-01T00:00:00.000Z' },
];

test('names of points resolve', () => {
  const cases: [string, string][] = [
    ['aaaa1', 'aaaa1111'],
    ['BBBB', 'bbbb3333'],
    ['bbbb3333', 'bbbb3333'],
    ['latest', 'bbbb3333'],
    ['@latest', 'bbbb3333'],
    ['web01@latest', 'aaaa2222'],
    ['lab/web01@latest', 'aaaa2222'],
    ['uuid-1@latest', 'aaaa2222'],
    ['web01@2026-03-02T10:00:29Z', 'aaaa1111'],
    ['web01@2026-03-02T10:00:30Z', 'aaaa2222'],
    ['web01@2026-03-02T11:00:30+01:00', 'aaaa2222'],
    ['uuid-4@2027-01-01', 'cccc5555'],
  ];
  for (const [text, id] of cases) assert.equal(resolvePoint(points, text).id, id, text);
});

test('a date is the whole day, a minute the whole minute, of the local time zone', () => {
  const time = new Date(points[1]?.time ?? '');
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const minute = `${day} ${two(time.getHours())}:${two(time.getMinutes())}`;
  assert.equal(resolvePoint(points, `web01@${day}`).id, 'aaaa2222');
  assert.equal(resolvePoint(points, `web01@${minute}`).id, 'aaaa2222');
  assert.equal(resolvePoint(points, `web01@${minute}:29`).id, 'aaaa1111');
});

test('a machine that was renamed is one machine', () => {
  const renamed = { id: 'dddd6666', machine: { id: 'uuid-2', name: 'db02' }, time: '2026-03-04T10:00:00Z' };
  const all = [...points, renamed];
  assert.equal(pointsOfMachine(all, 'db01').length, 2);
  assert.equal(resolvePoint(all, 'db01@latest').id, 'dddd6666');
});

test('what cannot be resolved is said with what there is', () => {
  const cases: [string, string, RegExp][] = [
    ['dddd', 'not-found', /newest are bbbb3333 \(db01/],
    ['aaaa', 'ambiguous', /aaaa2222.*aaaa1111/],
    ['aa', 'usage', /too short/],
    ['', 'usage', /too short/],
    ['web01', 'not-found', /web01@latest/],
    ['nobody@latest', 'not-found', /there are: db01, twin, web01/],
    ['twin@latest', 'ambiguous', /uuid-3, uuid-4/],
    ['web01@2025-01-01', 'not-found', /oldest is aaaa1111/],
    ['web01@soon', 'usage', /not a time/],
    ['web01@2026-02-31', 'usage', /not a time/],
  ];
  for (const [text, code, message] of cases) {
    assert.throws(() => resolvePoint(points, text), { code, message }, text);
  }
  assert.throws(() => resolvePoint([], 'latest'), { code: 'not-found', message: /no restore points yet/ });
  assert.throws(() => pointsOfMachine([], 'web01'), { code: 'not-found', message: /none yet/ });
});
