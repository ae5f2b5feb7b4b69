/** Locked points on a real S3 server with object lock: who may delete everything else cannot take them away. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { BackupResult, CollectResult, PointDto } from '@prima/api';
import { MiB } from '@prima/base';
import { randomFile, runPrima, sha256File, temporaryFolder } from '@prima/testbed';
import { type S3Lab, startS3Lab } from './s3-fixtures.ts';

let lab: S3Lab;
before(async () => {
  lab = await startS3Lab();
});
after(() => lab[Symbol.asyncDispose]());

/** Deletes every version that can be deleted; answers the keys of those that could not. */
async function deleteVersions(bucket: string): Promise<Set<string>> {
  const kept = new Set<string>();
  const { Versions = [], IsTruncated } = await lab.admin.listObjectVersions({ Bucket: bucket });
  assert.notEqual(IsTruncated, true, 'the test looks at one page of versions');
  for (const { Key = '', VersionId } of Versions) {
    try {
      await lab.admin.deleteObject({ Bucket: bucket, Key, VersionId });
    } catch {
      kept.add(Key); // access denied: it is what the test is about
    }
  }
  return kept;
}

test('a locked point survives somebody who deletes whatever can be deleted', async (t) => {
  await using stack = new AsyncDisposableStack();
  const folder = await temporaryFolder(t);
  const bucket = await lab.newBucket('lock');
  const proxy = stack.use(await lab.conditionalProxy());
  const env = {
    PRIMA_HOME: join(folder, 'home'),
    PRIMA_REPO: `s3://${bucket}/prima?endpoint=${proxy.endpoint}&lock=compliance`,
    PRIMA_PASSPHRASE: 'a long passphrase',
    AWS_ACCESS_KEY_ID: lab.owner.accessKeyId,
    AWS_SECRET_ACCESS_KEY: lab.owner.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const prima = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await runPrima(['--json', '--quiet', ...args], { env });
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  const backup = async (name: string, seed: number, ...more: string[]): Promise<PointDto> => {
    await randomFile(join(folder, `${name}.raw`), { size: 6 * MiB, seed });
    const { results } = await prima<BackupResult>('backup', join(folder, `${name}.raw`), ...more);
    assert.ok(results[0]?.point);
    return results[0].point;
  };
  await prima('init');
  const free = await backup('free', 1);
  const locked = await backup('kept', 2, '--lock', '2h');
  await prima('forget', free.id);
  const collected = await prima<CollectResult>('collect', '--max-delete-share', '1');
  assert.ok(collected.packsDeleted > 0, 'what is not locked is freed');
  const later = await backup('later', 3);
  await prima('lock', later.id, '--for', '1h');
  const kept = await deleteVersions(bucket);
  assert.ok([...kept].some((key) => key.includes('/packs/data/')));
  const points = await prima<PointDto[]>('points');
  assert.deepEqual(points.map(({ id }) => id).toSorted(), [locked.id, later.id].toSorted());
  for (const [id, name] of [
    [locked.id, 'kept'],
    [later.id, 'later'],
  ] as const) {
    const out = join(folder, `out-${name}`);
    await prima('restore', id, '--to', out);
    const [file = ''] = await readdir(out);
    assert.equal(await sha256File(join(out, file)), await sha256File(join(folder, `${name}.raw`)));
  }
});
