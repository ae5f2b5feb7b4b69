/** Damage that stops collections, and the way out of it, through `bin/prima` alone. */
import assert from 'node:assert/strict';
import { chmod, cp, open, readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BackupResult, CheckResult, CollectResult, PointDto, RepairResult } from '@prima/api';
import { MiB } from '@prima/base';
import { randomFile, runPrima, temporaryFolder } from '@prima/testbed';

/** Three points of one disk that differ in their middle, made from one home. */
async function bench(t: TestContext) {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const run = async (where: { repo: string; home: string }, args: readonly string[]) => {
    const { repo, home } = where;
    const env = { PRIMA_HOME: at(home), PRIMA_REPO: at(repo), PRIMA_PASSPHRASE: 'a passphrase' };
    return await runPrima(['--json', '--quiet', ...args], { env });
  };
  const prima = async <T>(where: { repo: string; home: string }, ...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await run(where, args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout) as { result: T }).result;
  };
  const origin = { repo: 'origin', home: 'origin-home' };
  await prima(origin, 'init');
  const points: { id: string; bytes: Buffer }[] = [];
  for (const seed of [1, 2, 3]) {
    await randomFile(at('web.raw'), { size: 2 * MiB, seed });
    const { results } = await prima<BackupResult>(origin, 'backup', at('web.raw'));
    points.push({ id: results[0]?.point?.id ?? '', bytes: await readFile(at('web.raw')) });
  }
  return { at, run, prima, points };
}

async function flip(path: string): Promise<void> {
  await chmod(path, 0o600);
  await using file = await open(path, 'r+');
  const { size } = await file.stat();
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, size - 20);
  await file.write(Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, size - 20);
}

async function cut(path: string): Promise<void> {
  await chmod(path, 0o600);
  await truncate(path, (await stat(path)).size >> 1);
}

const damages = { flipped: flip, truncated: cut, deleted: (path: string) => rm(path) };

type Bench = Awaited<ReturnType<typeof bench>>;

async function assertRestores(
  { at, prima, points }: Bench,
  where: { repo: string; home: string },
  without?: string,
): Promise<void> {
  const wanted = points.filter(({ id }) => id !== without);
  const there = await prima<PointDto[]>(where, 'points');
  assert.deepEqual(there.map(({ id }) => id).sort(), wanted.map(({ id }) => id).sort());
  for (const { id, bytes } of wanted) {
    const out = at(`${where.repo}-${id}`);
    await prima(where, 'restore', id, '--to', out);
    const [disk = ''] = await readdir(out);
    assert.ok(bytes.equals(await readFile(join(out, disk))));
    await rm(out, { recursive: true });
  }
}

test('a log entry or a point that cannot be read stops collections, until prima repair', async (t) => {
  const b = await bench(t);
  const { at, run, prima, points } = b;
  const victim = points[1]?.id ?? '';
  const objects = { 'log entry': 'log/0000000002', outcome: `sessions/${victim}/outcome` };
  for (const [what, key] of Object.entries(objects)) {
    for (const [how, damage] of Object.entries(damages)) {
      await t.test(`${what} ${how}`, async () => {
        const repo = `${what} ${how}`.replace(' ', '-');
        const where = { repo, home: `${repo}-home` }; // a computer that has seen nothing of it
        await cp(at('origin'), at(repo), { recursive: true });
        await damage(at(repo, key));
        const blocked = await run(where, ['collect']);
        assert.ok([12, 13].includes(blocked.status ?? 0), blocked.stdout);
        const check = await run(where, ['check']);
        assert.deepEqual([check.status, /prima repair/.test(check.stdout)], [24, true], check.stdout);
        assert.ok(check.stdout.includes(key), check.stdout);

        const plan = await prima<RepairResult>(where, 'repair');
        const isLost = what === 'outcome';
        assert.deepEqual(
          [plan.applied, plan.steps.map(({ object, remedy }) => [object, remedy])],
          [false, [[key, isLost ? 'given-up' : 'acknowledged']]],
        );
        assert.equal((await run(where, ['collect'])).status, blocked.status, 'a plan does nothing');
        await prima(where, 'repair', '--yes');
        const again = await prima<RepairResult>(where, 'repair', '--yes');
        assert.deepEqual(again.steps, []);
        await prima<CollectResult>(where, 'collect');
        const clean = await prima<CheckResult>(where, 'check', '--read-data');
        assert.deepEqual(clean.faults, []);
        assert.match(clean.notes.join(), isLost ? /given up .*kept until/ : /a repair stands for/);
        await assertRestores(b, where, isLost ? victim : undefined);
        if (!isLost) return;
        // the object is found in a snapshot of the storage
        await prima(where, 'repair', '--yes', '--from', at('origin'));
        await assertRestores(b, where);
      });
    }
  }
});

test('the computer that made the backups remembers a point, and restores it', async (t) => {
  const b = await bench(t);
  const { at, prima, points } = b;
  const here = { repo: 'origin', home: 'origin-home' };
  await prima(here, 'points');
  await cut(at('origin', 'sessions', points[0]?.id ?? '', 'outcome'));
  const { steps } = await prima<RepairResult>(here, 'repair', '--yes');
  assert.deepEqual(
    steps.map(({ remedy, point }) => [remedy, point?.machine]),
    [['restored', 'web']],
  );
  await prima(here, 'collect');
  assert.equal((await prima<CheckResult>(here, 'check', '--read-data')).ok, true);
  await assertRestores(b, here);
  await assertRestores(b, { repo: 'origin', home: 'another-home' });
});
