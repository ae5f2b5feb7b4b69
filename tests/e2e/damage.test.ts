/** Damage in a repository, found, restored around and mended, through `bin/prima` alone. */
import assert from 'node:assert/strict';
import { chmod, copyFile, cp, open, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BackupResult, CheckResult, CollectResult, PointDto, RestoreResult } from '@prima/api';
import { MiB } from '@prima/base';
import { connectNbd } from '@prima/nbd';
import { randomFile, runPrima, spawnPrima, temporaryFolder } from '@prima/testbed';

const size = 40 * MiB;

/** Flips a bit in the middle of a file. */
async function flipBit(path: string): Promise<void> {
  await chmod(path, 0o600);
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    const at = Math.floor((await file.stat()).size / 2);
    await file.read(byte, 0, 1, at);
    byte.writeUInt8(byte.readUInt8(0) ^ 4, 0);
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

test('a flipped bit: found, named, restored around, mended by the next backup', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'a passphrase' };
  const raw = async (args: readonly string[], wanted = 0): Promise<string> => {
    const { status, stdout, stderr } = await runPrima(['--json', ...args], { env });
    assert.equal(status, wanted, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const prima = async <T>(args: readonly string[], wanted = 0): Promise<T> => {
    const last = (await raw(args, wanted)).trim().split('\n').at(-1);
    return (JSON.parse(last ?? '') as { result: T }).result;
  };
  const backup = async (): Promise<PointDto> => {
    const { results } = await prima<BackupResult>(['backup', at('web.raw')]);
    assert.ok(results[0]?.point);
    return results[0].point;
  };

  await prima(['init']);
  await randomFile(at('web.raw'), { size, seed: 7 });
  const original = await readFile(at('web.raw'));
  const first = await backup();
  const [pack = ''] = await filesBelow(at('repository', 'packs', 'data'));
  await flipBit(pack);

  assert.equal((await prima<CheckResult>(['check'])).ok, true, 'no data was read');
  const looked = await prima<CheckResult>(['check', '--budget', '1T', '--no-record'], 24);
  const found = await prima<CheckResult>(['check', '--read-data', '--machine', first.machine], 24);
  assert.deepEqual(looked.faults, found.faults);
  const [fault] = found.faults;
  assert.equal(fault?.kind, 'damaged-pack');
  const [range] = fault.affected;
  assert.ok(range && fault.affected.length === 1);
  assert.deepEqual([range.point, range.disk, range.length], [first.id, 'disk0', MiB]);

  await t.test('a restore fails and names the place; when allowed, the rest comes back', async () => {
    const stdout = await raw(['restore', first.id, '--to', at('refused')], 12);
    assert.match(stdout, new RegExp(`damaged at ${range.offset}\\+${MiB}.*--allow-damaged`));
    await assert.rejects(readdir(at('refused')), { code: 'ENOENT' });
    const restored = await prima<RestoreResult>(
      ['restore', first.id, '--to', at('some'), '--allow-damaged'],
      12,
    );
    assert.deepEqual(restored.damaged, [{ disk: 'disk0', offset: range.offset, length: MiB }]);
    const [list, disk] = (await readdir(at('some'))).sort();
    const expected = Buffer.from(original).fill(0, range.offset, range.offset + MiB);
    assert.ok(expected.equals(await readFile(at('some', disk ?? ''))));
    const { zeroed } = JSON.parse(await readFile(at('some', list ?? ''), 'utf8')) as { zeroed: unknown };
    assert.deepEqual(zeroed, [{ offset: range.offset, length: MiB }]);
  });

  await t.test('an export gives an I/O error there, or zeros', async () => {
    for (const allow of [false, true]) {
      const more = allow ? ['--allow-damaged'] : [];
      const socket = at(allow ? 'a.sock' : 'b.sock');
      await using server = spawnPrima(['export', first.id, '--socket', socket, ...more], { env });
      await server.printed(/Serving until/);
      const client = await connectNbd({ socketPath: socket });
      try {
        const bytes = Buffer.alloc(4096, 1);
        const reading = client.read(range.offset, bytes);
        if (allow) {
          await reading;
          assert.ok(bytes.every((byte) => byte === 0));
        } else await assert.rejects(reading, /EIO|I\/O/);
      } finally {
        await client.close();
      }
    }
  });

  await t.test('the next backup mends it, for the old point as well', async () => {
    const second = await backup();
    assert.match(second.notes.join(), /mended the repository: 1 chunks/);
    for (const point of [first, second]) {
      await prima(['restore', point.id, '--to', at(point.id)]);
      const [disk = ''] = await readdir(at(point.id));
      assert.ok(original.equals(await readFile(at(point.id, disk))));
    }
    assert.equal((await prima<CheckResult>(['check', '--read-data'])).ok, true);
    assert.equal((await prima<CollectResult>(['collect'])).packsRewritten, 1);
    const clean = await prima<CheckResult>(['check', '--read-data']);
    assert.deepEqual([clean.ok, clean.leftovers, clean.verification.never], [true, [], 0]);
    assert.deepEqual(await filesBelow(at('repository', 'damaged')), []);
  });

  await t.test('an index that is gone is found again in the packs', async () => {
    for (const path of await filesBelow(at('repository', 'index'))) await rm(path);
    const lost = await prima<CheckResult>(['check'], 24);
    assert.deepEqual([...new Set(lost.faults.map(({ kind }) => kind))], ['missing-chunk']);
    await raw(['restore', first.id, '--to', at('lost')], 12);
    assert.equal((await prima<CheckResult>(['check', '--rebuild-index', '--read-data'])).ok, true);
    await prima(['restore', first.id, '--to', at('again')]);
  });
});

test('each loss is named by a check and by a restore that meets it', async (t) => {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const run = async (repository: string, ...args: string[]) => {
    const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at(repository), PRIMA_PASSPHRASE: 'a passphrase' };
    return await runPrima(['--json', '--quiet', ...args], { env });
  };
  await run('repository', 'init');
  for (const seed of [1, 2]) {
    await randomFile(at('web.raw'), { size: 4 * MiB, seed });
    assert.equal((await run('repository', 'backup', at('web.raw'))).status, 0);
  }
  const losses: [string, string, (files: string[]) => Promise<void>][] = [
    ['missing-pack', 'packs/data', async ([one = '']) => rm(one)],
    ['missing-pack', 'packs/meta', async ([one = '']) => rm(one)],
    ['damaged-pack', 'packs/data', async ([one = '']) => truncate(one, 1_000_000)],
    ['damaged-pack', 'packs/data', async ([one = '', other = '']) => copyFile(other, one)],
    ['damaged-pack', 'packs/meta', async ([one = '']) => flipBit(one)],
    ['damaged-segment', 'index', async ([one = '']) => flipBit(one)],
    ['missing-point', 'sessions', async (files) => rm(files.find((path) => path.endsWith('outcome')) ?? '')],
    ['log-gap', 'log', async ([one = '']) => rm(one)],
  ];
  for (const [index, [kind, place, lose]] of losses.entries()) {
    await t.test(`${kind}: ${place}`, async () => {
      const name = `copy-${index}`;
      await cp(at('repository'), at(name), { recursive: true });
      const files = await filesBelow(at(name, ...place.split('/')));
      for (const path of files) await chmod(path, 0o600);
      await lose(files);
      const { status, stdout } = await run(name, 'check', '--read-data');
      assert.equal(status, 24, stdout);
      const { result } = JSON.parse(stdout) as { result: CheckResult };
      assert.ok(
        result.faults.some((fault) => fault.kind === kind),
        stdout,
      );
      const restored = await run(name, 'restore', 'latest', '--to', at(`out-${index}`));
      if (restored.status === 0) {
        const [disk = ''] = await readdir(at(`out-${index}`));
        const whole = await readFile(at('web.raw'));
        const isNewest = whole.equals(await readFile(at(`out-${index}`, disk)));
        assert.ok(isNewest || kind === 'missing-point', 'only a point that is gone may be passed over');
      } else assert.match(restored.stdout, /"code":"integrity"/);
    });
  }
});
