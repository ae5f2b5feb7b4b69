/** Copying points between repositories with different keys and chunk sizes, through `bin/prima` alone. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BackupResult, CheckResult, CopyResult, PointDto } from '@prima/api';
import { KiB, MiB } from '@prima/base';
import { randomFile, runPrima, sha256File, spawnPrima, temporaryFolder } from '@prima/testbed';

async function world(t: TestContext) {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const keyFile = at('b.key');
  await writeFile(keyFile, randomBytes(64), { mode: 0o600 });
  const env = {
    PRIMA_HOME: at('home'),
    PRIMA_REPO: at('a'),
    PRIMA_PASSPHRASE: 'the first passphrase',
    PRIMA_TO_PASSPHRASE: 'never right',
  };
  const raw = async (args: readonly string[]) => await runPrima(['--json', '--quiet', ...args], { env });
  const prima = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await raw(args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  const inB = ['--repo', at('b'), '--key-file', keyFile];
  await prima('init', '--chunk-size', '1M');
  await prima('init', ...inB, '--chunk-size', '256K');
  const toB = ['--to', at('b'), '--to-key-file', keyFile];
  const fromB = [...inB, '--to', at('a')];
  return { at, env, raw, prima, inB, toB, fromB };
}

type World = Awaited<ReturnType<typeof world>>;

async function backup({ prima }: World, disk: string): Promise<PointDto> {
  const { results } = await prima<BackupResult>('backup', disk);
  assert.ok(results[0]?.point);
  return results[0].point;
}

async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
}

const states = ({ results }: CopyResult) => results.map(({ state }) => state);

test('points go there, come back from there, and are not copied twice', async (t) => {
  const w = await world(t);
  const { at, prima, inB, toB, fromB } = w;
  const disk = at('web.raw');
  await randomFile(disk, { size: 48 * MiB, dataFraction: 0.7, seed: 31 });
  const first = await backup(w, disk);
  const firstHash = await sha256File(disk);
  await overwrite(disk, 20 * MiB + 77, randomBytes(3 * MiB));
  await backup(w, disk);
  const secondHash = await sha256File(disk);
  const plan = await prima<CopyResult>('copy', '--all', ...toB, '--dry-run');
  assert.deepEqual(states(plan), ['planned', 'planned']);
  const copied = await prima<CopyResult>('copy', '--all', ...toB, '--verify');
  assert.deepEqual(states(copied), ['copied', 'copied']);
  assert.ok(copied.results.every(({ verified }) => verified));
  const bytes = copied.results.map((result) => result.bytes);
  assert.deepEqual(
    plan.results.map((result) => result.bytes),
    bytes,
  );
  assert.ok((bytes[1] ?? 0) <= 5 * MiB, `the second point was read in full: ${bytes.join(', ')}`);
  for (const [i, wanted] of [firstHash, secondHash].entries()) {
    const id = copied.results[i]?.copy?.id ?? '';
    const out = at(`out${i}`);
    await prima('restore', id, ...inB, '--to', out);
    const [name = ''] = await readdir(out);
    assert.equal(await sha256File(join(out, name)), wanted);
  }
  const shown = await prima<PointDto>('show', copied.results[0]?.copy?.id ?? '', ...inB);
  assert.equal(shown.origin?.point, first.id);
  assert.equal(shown.time, first.time);
  assert.deepEqual(states(await prima<CopyResult>('copy', '--all', ...toB)), ['present', 'present']);
  // what is lost here comes back from there, onto what is still here
  await prima('forget', first.id);
  await prima('collect', '--max-delete-share', '1');
  const back = await w.raw(['copy', '--machine', 'web', ...fromB]);
  assert.equal(back.status, 10, 'PRIMA_TO_PASSPHRASE opens the target, not PRIMA_PASSPHRASE');
  w.env.PRIMA_TO_PASSPHRASE = w.env.PRIMA_PASSPHRASE;
  assert.deepEqual(states(await prima<CopyResult>('copy', '--machine', 'web', ...fromB)), [
    'copied',
    'present',
  ]);
  assert.equal((await prima<CheckResult>('check', '--read-data')).faults.length, 0);
  const itself = await w.raw(['copy', '--all', '--to', at('a')]);
  assert.equal(itself.status, 2, itself.stdout);
});

test('copy --create makes the repository to copy to, with a recovery key of its own', async (t) => {
  const { at, env, raw, prima } = await world(t);
  await randomFile(at('web.raw'), { size: 3 * MiB, seed: 34 });
  await prima<BackupResult>('backup', at('web.raw'));
  env.PRIMA_TO_PASSPHRASE = 'that of the vault';
  const to = ['--to', at('c')];
  const made = await raw(['copy', '--all', ...to, '--create', '--recovery']);
  assert.equal(made.status, 0, made.stdout + made.stderr);
  const [{ words }, { result }] = made.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line)) as [{ words: string[] }, { result: CopyResult }];
  assert.deepEqual([words.length, states(result)], [24, ['copied']]);
  await writeFile(at('paper'), words.join('\n'), { mode: 0o600 });
  const inC = ['--repo', at('c'), '--recovery-file', at('paper')];
  await prima('restore', 'latest', ...inC, '--to', at('out'));
  const [name = ''] = await readdir(at('out'));
  assert.equal(await sha256File(at('out', name)), await sha256File(at('web.raw')));
  // the paper opens it to copy to, too; made again it is not
  const again = await prima<CopyResult>('copy', '--all', ...to, '--to-recovery-file', at('paper'));
  assert.deepEqual(states(again), ['present']);
  const twice = await raw(['copy', '--all', ...to, '--create']);
  assert.equal(twice.status, 4, twice.stdout);
  const source = await prima<{ chunkSize: number }>('status');
  assert.equal((await prima<{ chunkSize: number }>('status', ...inC)).chunkSize, source.chunkSize);
});

test('kill -9 in the middle of a copy: run again, it ends what it began', async (t) => {
  const w = await world(t);
  const { at, env, prima, inB, toB } = w;
  const disk = at('web.raw');
  await randomFile(disk, { size: 64 * MiB, seed: 32 });
  await backup(w, disk);
  await randomFile(disk, { size: 64 * MiB, seed: 33 });
  await backup(w, disk);
  const killed = spawnPrima(['--verbose', 'copy', '--all', ...toB], { env });
  await killed.printed(/copied web /);
  killed.kill();
  assert.equal((await killed.result).signal, 'SIGKILL');
  const copied = await prima<CopyResult>('copy', '--all', ...toB, '--verify');
  assert.deepEqual(states(copied).toSorted(), ['copied', 'present']);
  assert.equal((await prima<PointDto[]>('points', ...inB)).length, 2);
  assert.equal((await prima<CheckResult>('check', '--read-data', ...inB)).faults.length, 0);
});

test('a point whose data is gone fails with status 12 and its name; the others are copied', async (t) => {
  const w = await world(t);
  const { at, raw, prima, inB, toB } = w;
  const packs = async () => {
    const folder = at('a', 'packs', 'data');
    const names = await readdir(folder, { recursive: true });
    const files = names.map((name) => join(folder, name));
    return (await Promise.all(files.map(async (f) => ((await stat(f)).isFile() ? [f] : [])))).flat();
  };
  for (const [name, seed] of [
    ['good', 41],
    ['bad', 42],
  ] as const) {
    await randomFile(at(`${name}.raw`), { size: 2 * MiB + 64 * KiB, seed });
  }
  await backup(w, at('good.raw'));
  const before = new Set(await packs());
  const bad = await backup(w, at('bad.raw'));
  for (const file of await packs()) if (!before.has(file)) await rm(file);
  const { status, stdout } = await raw(['copy', '--all', ...toB]);
  assert.equal(status, 12, stdout);
  const { result } = JSON.parse(stdout) as { result: CopyResult };
  assert.deepEqual(states(result), ['copied', 'failed']);
  assert.match(result.results[1]?.error?.message ?? '', new RegExp(`bad disk0 of point ${bad.id}`));
  assert.equal((await prima<PointDto[]>('points', ...inB)).length, 1);
});
