import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownIdentity } from '@prima/base';
import { acquireLock } from './lock.ts';

async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'prima-lock-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function stale(what: string): Promise<string> {
  const { pid } = spawnSync('true');
  const owner = { ...(await ownIdentity()), pid, pidStart: '1' };
  return JSON.stringify({ owner, what, since: '2026-01-01T00:00:00Z', nonce: 'x' });
}

test('a lock has one owner, and is gone when given back', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'deep', 'a.lock');
  {
    await using _lock = await acquireLock(path, 'backing up web01');
    await assert.rejects(acquireLock(path, 'x'), {
      code: 'busy',
      message: /process \d+ .*backing up web01/,
    });
  }
  assert.deepEqual(await readdir(join(dir.path, 'deep')), []);
  await using _again = await acquireLock(path, 'again');
});

test('the lock of a dead process is taken over, by one of many', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'a.lock');
  await writeFile(path, await stale('dying'));
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => acquireLock(path, `no ${i}`)),
  );
  const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  assert.equal(won.length, 1);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'busy');
  }
  await won[0]?.value[Symbol.asyncDispose]();
  assert.deepEqual(await readdir(dir.path), []);
});

test('a takeover that died is taken over too', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'a.lock');
  await writeFile(path, await stale('dying'));
  await writeFile(`${path}.takeover`, await stale('taking over'));
  await using lock = await acquireLock(path, 'third');
  assert.match(await readFile(lock.path, 'utf8'), /third/);
  assert.deepEqual(await readdir(dir.path), ['a.lock']);
});

test('the lock of another host is left alone, and said how to remove', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'a.lock');
  const owner = { ...(await ownIdentity()), host: 'elsewhere' };
  await writeFile(path, JSON.stringify({ owner, what: 'backing up', since: 'then', nonce: 'x' }));
  await assert.rejects(acquireLock(path, 'x'), { code: 'busy', message: /elsewhere.*remove/s });
  await writeFile(path, '{');
  await assert.rejects(acquireLock(path, 'x'), { code: 'busy', message: /damaged/ });
});

test('a lock that was removed by hand and taken by another is not removed', async () => {
  await using dir = await folder();
  const path = join(dir.path, 'a.lock');
  const first = await acquireLock(path, 'first');
  await rm(path);
  await using _second = await acquireLock(path, 'second');
  await first[Symbol.asyncDispose]();
  assert.match(await readFile(path, 'utf8'), /second/);
});
