/** A repository on a real S3 server, typed as a person types it, with the least rights that each work needs. */
import assert from 'node:assert/strict';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { MiB, seededRandom } from '@prima/base';
import { type GatewayUser, randomFile, runPrima, sha256File, temporaryFolder } from '@prima/testbed';
import { allow, type S3Lab, startS3Lab } from './s3-fixtures.ts';

let lab: S3Lab;
before(async () => {
  lab = await startS3Lab();
});
after(() => lab[Symbol.asyncDispose]());

/** What docs/operating/storage.md tells people to give to who makes backups, and to who collects besides. */
const backupActions = ['s3:PutObject', 's3:GetObject', 's3:ListBucket'];
const collectActions = [
  ...backupActions,
  's3:GetBucketVersioning',
  's3:ListBucketVersions',
  's3:DeleteObject',
  's3:DeleteObjectVersion',
];

interface Repository {
  url: string;
  folder: string;
  user: GatewayUser;
}

/** Runs prima as `user` and gives its result; raises when it fails. */
async function prima({ url, folder, user }: Repository, ...args: string[]): Promise<unknown> {
  const { status, stdout, stderr } = await run({ url, folder, user }, ...args);
  assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
  const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { type: string; result: unknown };
  assert.equal(last.type, 'result');
  return last.result;
}

function run({ url, folder, user }: Repository, ...args: string[]) {
  const env = {
    PRIMA_HOME: join(folder, 'home'),
    PRIMA_REPO: url,
    PRIMA_PASSPHRASE: 'a long passphrase',
    AWS_ACCESS_KEY_ID: user.accessKeyId,
    AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  return runPrima(['--json', '--quiet', ...args], { env });
}

async function overwrite(path: string, offset: number, seed: number): Promise<void> {
  await using file = await open(path, 'r+');
  const bytes = seededRandom(seed).bytes(new Uint8Array(3 * MiB));
  await file.write(bytes, 0, bytes.length, offset);
}

/** The hash of the one disk that was restored into the folder. */
async function restoredHash(folder: string): Promise<string> {
  const [name = '', ...more] = await readdir(folder);
  assert.deepEqual(more, []);
  return sha256File(join(folder, name));
}

test('init, backups, restore, check, forget and collect on S3', async (t) => {
  const folder = await temporaryFolder(t);
  const bucket = await lab.newBucket();
  const url = `s3://${bucket}/site/prima?endpoint=${lab.endpoint}`;
  const repository = { url, folder, user: lab.owner };
  const disk = join(folder, 'web.raw');
  await randomFile(disk, { size: 100 * MiB, dataFraction: 0.8, seed: 11 });
  await prima(repository, 'init');
  const again = await run(repository, 'init');
  assert.equal(again.status, 4, again.stdout);
  await prima(repository, 'backup', disk, '--name', 'web');
  const first = await sha256File(disk);
  await overwrite(disk, 20 * MiB, 12);
  await prima(repository, 'backup', disk, '--name', 'web');
  const points = (await prima(repository, 'points')) as { id: string }[];
  assert.equal(points.length, 2);
  await prima(repository, 'restore', points[0]?.id ?? '', '--to', join(folder, 'first'));
  assert.equal(await restoredHash(join(folder, 'first')), first);
  await prima(repository, 'check', '--read-data');

  const { Contents: packs = [] } = await lab.admin.listObjectsV2({
    Bucket: bucket,
    Prefix: 'site/prima/packs/data/',
  });
  assert.ok(
    packs.some(({ Size = 0 }) => Size > 36 * MiB),
    'packs are as large as suits object stores',
  );
  await prima(repository, 'forget', points[0]?.id ?? '');
  const collected = (await prima(repository, 'collect', '--max-delete-share', '1')) as object;
  assert.ok(collected);
  await prima(repository, 'check', '--read-data');
  await prima(repository, 'restore', points[1]?.id ?? '', '--to', join(folder, 'second'));
  assert.equal(await restoredHash(join(folder, 'second')), await sha256File(disk));
});

test('credentials that may not delete are enough for backup, restore and check, not for collecting', async (t) => {
  const folder = await temporaryFolder(t);
  const bucket = await lab.newBucket();
  const url = `s3://${bucket}?endpoint=${lab.endpoint}`;
  const owner = { url, folder, user: lab.owner };
  const collector = { url, folder, user: await lab.addUser('collector') };
  const appender = { url, folder, user: await lab.addUser('mover') };
  const disk = join(folder, 'db.raw');
  await randomFile(disk, { size: 20 * MiB, seed: 21 });
  await prima(owner, 'init');
  const refused = await run(appender, 'status');
  assert.equal(refused.status, 21, refused.stdout);
  await allow(lab.admin, bucket, { mover: backupActions, collector: collectActions });
  await prima(appender, 'backup', disk, '--name', 'db');
  await prima(appender, 'restore', 'db@latest', '--to', join(folder, 'out'));
  assert.equal(await restoredHash(join(folder, 'out')), await sha256File(disk));
  await prima(appender, 'check', '--read-data');
  await overwrite(disk, 0, 22);
  await prima(appender, 'backup', disk, '--name', 'db');
  const points = (await prima(appender, 'points')) as { id: string }[];
  await prima(collector, 'forget', points[0]?.id ?? '');
  const collecting = await run(appender, 'collect', '--max-delete-share', '1');
  assert.notEqual(collecting.status, 0, collecting.stdout);
  await prima(collector, 'check', '--read-data');
  await prima(collector, 'collect', '--max-delete-share', '1');
  await prima(collector, 'check', '--read-data');
});

test('what plain deletes hid in a bucket with versions is brought back', async (t) => {
  await using stack = new AsyncDisposableStack();
  const folder = await temporaryFolder(t);
  const bucket = await lab.newBucket('versions');
  const proxy = stack.use(await lab.conditionalProxy());
  const url = `s3://${bucket}/prima?endpoint=${proxy.endpoint}`;
  const repository = { url, folder, user: lab.owner };
  const disk = join(folder, 'mail.raw');
  await randomFile(disk, { size: 8 * MiB, seed: 31 });
  await prima(repository, 'init');
  await prima(repository, 'backup', disk, '--name', 'mail');
  const { Versions = [] } = await lab.admin.listObjectVersions({ Bucket: bucket });
  for (const { Key } of Versions) await lab.admin.deleteObject({ Bucket: bucket, Key });
  assert.equal((await run(repository, 'points')).status, 3);
  const planned = (await prima(repository, 'storage', 'undelete', url, '--dry-run')) as { keys: string[] };
  const done = (await prima(repository, 'storage', 'undelete', url)) as { keys: string[] };
  assert.deepEqual(done.keys, planned.keys);
  assert.equal(done.keys.length, Versions.length);
  await prima(repository, 'check', '--read-data');
  await prima(repository, 'restore', 'mail@latest', '--to', join(folder, 'out'));
  assert.equal(await restoredHash(join(folder, 'out')), await sha256File(disk));
});

test('locked points survive whoever owns the bucket', async (t) => {
  await using stack = new AsyncDisposableStack();
  const folder = await temporaryFolder(t);
  const bucket = await lab.newBucket('lock');
  const proxy = stack.use(await lab.conditionalProxy());
  const url = `s3://${bucket}/prima?endpoint=${proxy.endpoint}&lock=compliance`;
  const repository = { url, folder, user: lab.owner };
  const disk = join(folder, 'mail.raw');
  await randomFile(disk, { size: 8 * MiB, seed: 31 });
  await prima(repository, 'init');
  await prima(repository, 'backup', disk, '--name', 'mail', '--lock', '1d');
  const { Versions = [] } = await lab.admin.listObjectVersions({ Bucket: bucket });
  const packs = Versions.filter(({ Key = '' }) => Key.startsWith('prima/packs/'));
  assert.ok(packs.length >= 2);
  for (const { Key, VersionId } of packs) {
    const deleting = lab.admin.deleteObject({
      Bucket: bucket,
      Key,
      VersionId,
      BypassGovernanceRetention: true,
    });
    await assert.rejects(deleting, { name: 'AccessDenied' });
  }
  for (const { Key } of Versions) await lab.admin.deleteObject({ Bucket: bucket, Key }); // hides everything
  assert.equal((await run(repository, 'points')).status, 3);
  await prima(repository, 'storage', 'undelete', url);
  await prima(repository, 'check', '--read-data');
  await prima(repository, 'restore', 'mail@latest', '--to', join(folder, 'out'));
  assert.equal(await restoredHash(join(folder, 'out')), await sha256File(disk));
});

test('prima storage test passes on S3, leaves nothing behind, and finds a server that overwrites', async (t) => {
  const folder = await temporaryFolder(t);
  const [good, bad] = [await lab.newBucket(), await lab.newBucket('versions')];
  const at = (bucket: string) => ({
    url: `s3://${bucket}/x?endpoint=${lab.endpoint}`,
    folder,
    user: lab.owner,
  });
  await prima(at(good), 'storage', 'test', at(good).url);
  assert.deepEqual((await lab.admin.listObjectsV2({ Bucket: good })).Contents, undefined);
  const { status, stdout } = await run(at(bad), 'storage', 'test', at(bad).url);
  assert.equal(status, 24, stdout);
  assert.match(stdout, /ignores If-None-Match/);
  assert.deepEqual((await lab.admin.listObjectVersions({ Bucket: bad })).Versions, undefined);
});

test('without a key, a bucket or a server prima says what to do', async (t) => {
  const folder = await temporaryFolder(t);
  const nobody = { accessKeyId: '', secretAccessKey: '' };
  const said = async (url: string, user: GatewayUser, pattern: RegExp, status: number) => {
    const { status: ended, stdout } = await run({ url, folder, user }, 'points');
    assert.equal(ended, status, stdout);
    assert.match(stdout, pattern);
  };
  const bucket = await lab.newBucket();
  const url = `s3://${bucket}?endpoint=${lab.endpoint}`;
  await said(url, nobody, /set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE/, 21);
  await said(
    `s3://no-such-bucket?endpoint=${lab.endpoint}`,
    lab.owner,
    /has no bucket .{1,2}no-such-bucket/,
    3,
  );
  await said(`s3://id:key@${bucket}`, lab.owner, /holds no keys/, 2);
  await said(url, lab.owner, /prima init/, 3);
});
