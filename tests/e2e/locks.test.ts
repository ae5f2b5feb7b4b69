/** Points that cannot be forgotten, through `bin/prima` alone. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BackupResult, CollectResult, ForgetResult, PointDto } from '@prima/api';
import { MiB } from '@prima/base';
import { randomFile, runPrima, temporaryFolder } from '@prima/testbed';

test('a locked point is forgotten neither by name nor by rule, and its lock only grows', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (name: string) => join(folder, name);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'a passphrase' };
  const raw = async (args: readonly string[]) => await runPrima(['--json', '--quiet', ...args], { env });
  const prima = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await raw(args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  const backup = async (seed: number, ...more: string[]): Promise<PointDto> => {
    await randomFile(at('web.raw'), { size: 4 * MiB, seed });
    const { results } = await prima<BackupResult>('backup', at('web.raw'), ...more);
    assert.ok(results[0]?.point);
    return results[0].point;
  };
  await prima('init');
  const locked = await backup(1, '--lock', '30d');
  const free = await backup(2);
  const newest = await backup(3);
  const refused = await raw(['forget', locked.id, free.id]);
  assert.equal(refused.status, 13, refused.stdout);
  assert.match(refused.stdout, /is locked until \d{4}-\d\d-\d\dT.*nothing was forgotten/);
  const forgotten = await prima<ForgetResult>('forget', '--keep-last', '1');
  assert.deepEqual(
    forgotten.forgotten.map(({ id }) => id),
    [free.id],
  );
  const [kept] = forgotten.kept.filter(({ point }) => point.id === locked.id);
  assert.match(kept?.reasons.join() ?? '', /^locked until/);
  const [shorter] = await prima<PointDto[]>('lock', locked.id, '--for', '1h');
  assert.equal(shorter?.lockedUntil, locked.lockedUntil);
  const [longer] = await prima<PointDto[]>('lock', locked.id, '--for', '60d');
  assert.ok((longer?.lockedUntil ?? '') > (locked.lockedUntil ?? ''));
  assert.ok((await prima<CollectResult>('collect')).packsDeleted > 0);
  const points = await prima<PointDto[]>('points');
  assert.deepEqual(
    points.map(({ id, lockedUntil }) => [id, lockedUntil]),
    [
      [locked.id, longer?.lockedUntil],
      [newest.id, undefined],
    ],
  );
  await prima('restore', locked.id, '--to', at('out'));
  assert.equal((await raw(['lock', locked.id])).status, 2);
  assert.equal((await raw(['lock', locked.id, '--until', '2001-01-01'])).status, 2);
});
