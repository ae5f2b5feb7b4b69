/** What opens a repository, typed as a person types it: recovery on paper, rotation, a storage that was set back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import { type PrimaResult, runPrima, temporaryFolder } from '@prima/testbed';

interface Bench {
  at: (...names: string[]) => string;
  /** Runs prima and wants it to succeed. */
  prima: (...args: string[]) => Promise<string>;
  run: (args: readonly string[], env?: Record<string, string | undefined>) => Promise<PrimaResult>;
  /** The last line of `--json --quiet`. */
  answer: <T>(...args: string[]) => Promise<T>;
}

async function bench(t: Parameters<typeof temporaryFolder>[0]): Promise<Bench> {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const own = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repo'), PRIMA_PASSPHRASE: 'a long passphrase' };
  const run: Bench['run'] = (args, env = {}) => runPrima(args, { env: { ...own, ...env } });
  const prima = async (...args: string[]) => {
    const { status, stdout, stderr } = await run(args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const answer = async <T>(...args: string[]): Promise<T> => {
    const lines = (await prima('--json', '--quiet', ...args)).trim().split('\n');
    return (JSON.parse(lines.at(-1) ?? '') as { result: T }).result;
  };
  await writeFile(at('disk.raw'), randomBytes(2 * MiB));
  return { at, prima, run, answer };
}

const noPassphrase = { PRIMA_PASSPHRASE: undefined };

test('the paper opens the repository when the passphrase is gone', async (t) => {
  const { at, prima, run, answer } = await bench(t);
  const init = await prima('init', '--recovery');
  const words = [...init.matchAll(/\d+\. ([a-z]+)/g)].map(([, word = '']) => word);
  assert.equal(words.length, 24);
  assert.match(init, /on paper/);
  await prima('backup', at('disk.raw'));
  // the columns are read downwards
  const inOrder = Array.from({ length: 24 }, (_, i) => words[(i % 6) * 4 + Math.floor(i / 6)] ?? '');
  await writeFile(at('paper'), `${inOrder.join('\n')}\n`.toUpperCase(), { mode: 0o600 });

  const short = inOrder.map((word) => word.slice(0, 4)).join(' ');
  assert.equal((await run(['points'], { ...noPassphrase, PRIMA_RECOVERY: short })).status, 0);
  const restored = await run(
    ['restore', 'latest', '--to', at('out'), '--recovery-file', at('paper')],
    noPassphrase,
  );
  assert.equal(restored.status, 0, restored.stderr);
  const [disk = ''] = (await readdir(at('out'))).filter((name) => name.endsWith('.raw'));
  assert.ok((await readFile(at('disk.raw'))).equals(await readFile(at('out', disk))));

  const wrong = async (text: string) => run(['points'], { ...noPassphrase, PRIMA_RECOVERY: text });
  const third = await wrong(inOrder.with(2, 'zzzz').join(' '));
  assert.deepEqual([third.status, /word 3 of the recovery key/.test(third.stderr)], [2, true]);
  const swapped = await wrong([inOrder[1], inOrder[0], ...inOrder.slice(2)].join(' '));
  assert.equal(swapped.status, inOrder[0] === inOrder[1] ? 0 : 2, swapped.stderr);
  const { words: others } = await answer<{ words: string[] }>(
    'key',
    'add',
    '--recovery',
    '--label',
    'second',
  );
  const slots = await answer<{ id: string; label: string }[]>('key', 'list');
  await prima('key', 'remove', slots.find(({ label }) => label === 'second')?.id ?? '');
  const foreign = await wrong(others.join(' '));
  assert.deepEqual([foreign.status, /this recovery key opens none/.test(foreign.stderr)], [10, true]);
});

test('rotation, a key that only reads, and the last key', async (t) => {
  const { at, prima, run, answer } = await bench(t);
  await prima('init');
  await prima('backup', at('disk.raw'));
  await writeFile(at('auditor'), randomBytes(64), { mode: 0o600 });
  await prima('key', 'add', '--label', 'auditor', '--read-only', '--new-key-file', at('auditor'));
  assert.deepEqual(await answer('key', 'rotate'), { keySet: 2, epoch: 2 });
  await prima('backup', at('disk.raw'));
  const reading = ['--key-file', at('auditor')];
  assert.equal((await run(['check', '--read-data', ...reading], noPassphrase)).status, 0);
  for (const args of [['backup', at('disk.raw')], ['collect'], ['key', 'rotate'], ['forget', 'latest']]) {
    const { status, stderr } = await run([...args, ...reading], noPassphrase);
    assert.deepEqual([status, /may only read/.test(stderr)], [13, true], `${args.join(' ')}: ${stderr}`);
  }
  const slots = await answer<{ id: string; access: string }[]>('key', 'list');
  const full = slots.find(({ access }) => access === 'full')?.id ?? '';
  assert.equal((await run(['key', 'remove', full, '--force'])).status, 13);
});

test('a new root key: slots stay whose secrets are given, the others go when that is said', async (t) => {
  const { at, prima, run, answer } = await bench(t);
  const { words } = await answer<{ words: string[] }>('init', '--recovery');
  await writeFile(at('paper'), words.join(' '), { mode: 0o600 });
  await writeFile(at('vault'), randomBytes(64), { mode: 0o600 });
  await prima('key', 'add', '--label', 'vault', '--new-key-file', at('vault'));
  await prima('backup', at('disk.raw'));
  const rotate = ['key', 'rotate', '--root', '--also-recovery-file', at('paper')];
  const refused = await run(rotate);
  assert.deepEqual(
    [refused.status, /\(keyfile, vault\); nothing was done/.test(refused.stderr)],
    [13, true],
    refused.stderr,
  );
  const wrong = await run([...rotate, '--also-key-file', at('disk.raw')]);
  assert.equal(wrong.status, 10, wrong.stderr);
  const without = await run(['key', 'rotate', '--drop-others']);
  assert.deepEqual([without.status, /--root/.test(without.stderr)], [2, true]);

  const done = await answer<{ slots: { label: string }[]; dropped: { label: string }[] }>(
    ...rotate,
    '--drop-others',
  );
  assert.deepEqual(
    done.slots.map(({ label }) => label),
    ['first', 'recovery'],
  );
  assert.deepEqual(
    done.dropped.map(({ label }) => label),
    ['vault'],
  );
  assert.equal((await answer<unknown[]>('key', 'list')).length, 2);
  assert.equal((await run(['points', '--key-file', at('vault')], noPassphrase)).status, 10);
  await prima('backup', at('disk.raw'));
  await prima('collect');
  assert.equal((await run(['check', '--read-data', '--recovery-file', at('paper')], noPassphrase)).status, 0);
  await prima('restore', 'latest', '--to', at('out'));
  const [disk = ''] = await readdir(at('out'));
  assert.ok((await readFile(at('disk.raw'))).equals(await readFile(at('out', disk))));
});

test('a storage that was set back is noticed, and can be accepted', async (t) => {
  const { at, prima, run, answer } = await bench(t);
  const { id } = await answer<{ id: string }>('init');
  await prima('backup', at('disk.raw'));
  await cp(at('repo'), at('old'), { recursive: true });
  await prima('backup', at('disk.raw'));
  assert.equal((await stat(at('home', 'repositories', id, 'head.json'))).mode & 0o777, 0o600);
  await rm(at('repo'), { recursive: true });
  await rename(at('old'), at('repo'));

  const fault = /the log had 2 entries when this computer last saw it, now it has 1/;
  const points = await run(['points']);
  assert.deepEqual([points.status, fault.test(points.stderr)], [0, true], points.stderr);
  const check = await run(['check']);
  assert.deepEqual([check.status, /rolled-back/.test(check.stdout)], [24, true], check.stdout);
  const forget = await run(['forget', 'latest']);
  assert.deepEqual([forget.status, /--accept-head/.test(forget.stderr)], [13, true], forget.stderr);
  const collect = await run(['collect']);
  assert.equal(collect.status, 13, collect.stderr);
  const backup = await run(['backup', at('disk.raw')]);
  assert.deepEqual([backup.status, fault.test(backup.stderr)], [0, true], backup.stderr);
  const { warnings } = await answer<{ warnings: string[] }>('show', 'latest');
  assert.match(warnings.join(), fault);

  await prima('check', '--accept-head');
  assert.doesNotMatch((await run(['points'])).stderr, /warning/);
  await prima('forget', 'latest');
  await prima('collect', '--max-delete-share', '1');
});

test('a point that somebody took away is told when points are listed', async (t) => {
  const { at, prima, run, answer } = await bench(t);
  await prima('init');
  await prima('backup', at('disk.raw'));
  await prima('backup', at('disk.raw'));
  const [first] = await answer<{ id: string }[]>('points');
  await rm(at('repo', 'sessions', first?.id ?? ''), { recursive: true });
  const { status, stderr } = await run(['points']);
  assert.equal(status, 0);
  assert.match(stderr, /the log of roots knows 1 restore points that are not there/);
  assert.equal((await run(['collect'])).status, 13);
});
