/** `prima --server` with real disks and a real machine: what it says and does is what `prima` does by itself. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BackupResult, PointDto } from '@prima/api';
import { errorCodes, MiB, runProgram } from '@prima/base';
import { createApplication } from '@prima/server';
import {
  buildTinyGuest,
  type Cleanup,
  runPrima,
  spawnPrima,
  temporaryFolder,
  waitUntil,
} from '@prima/testbed';
import { operationServer, serverEnvironment } from './operation-server-fixture.ts';

/** @param upload bytes a second that go to the repository at most */
async function bench(t: Cleanup, upload?: number) {
  const ends: (() => Promise<unknown>)[] = [];
  t.after(async () => {
    // registered, and so run, before the folder is removed
    for (const end of ends) await end();
  });
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const application = await createApplication({
    home: at('home'),
    repository: at('repository'),
    secret: async () => ({ kind: 'passphrase', text: 'a long passphrase' }),
    ...(upload !== undefined && { store: { upload } }),
  });
  const server = await operationServer(application);
  const alone = { PRIMA_HOME: at('home'), HOME: at('nobody') };
  ends.push(
    async () => await server[Symbol.asyncDispose](),
    () => runPrima(['machine', 'stop', '--hard', 'lab/web'], { env: alone }), // where there is one
  );
  const env = { ...serverEnvironment(server.url), PRIMA_REPO: 'main', HOME: at('nobody') };
  const prima = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runPrima(args, { env });
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const answer = async <T>(...args: string[]): Promise<T> => {
    const lines = (await prima('--json', '--quiet', ...args)).trim().split('\n');
    return (JSON.parse(lines.at(-1) ?? '') as { result: T }).result;
  };
  return { at, env, server, prima, answer };
}

test('disk files: backed up, listed, compared, restored, forgotten, as without a server', async (t) => {
  const { at, env, server, prima, answer } = await bench(t);
  const content = randomBytes(8 * MiB);
  await writeFile(at('disk.raw'), content);
  const init = await prima('init', '--recovery');
  const words = [...init.matchAll(/\d+\. ([a-z]+)/g)].map(([, word = '']) => word);
  assert.equal(words.length, 24);
  const backup = async () =>
    (await answer<BackupResult>('backup', at('disk.raw'), '--tag', 'x')).results[0]?.point;
  const first = await backup();
  content.fill(7, MiB, 2 * MiB);
  await writeFile(at('disk.raw'), content);
  const second = await backup();
  assert.ok(first && second);
  assert.deepEqual(
    (await answer<PointDto[]>('points', '--tag', 'x')).map(({ id }) => id),
    [first.id, second.id],
  );
  assert.match(await prima('show', 'latest', '--partitions'), new RegExp(second.id.slice(0, 8)));
  const diff = await answer<{ disks: { changedBytes: number }[] }>('diff', first.id, second.id);
  assert.equal(diff.disks[0]?.changedBytes, MiB);
  await prima('restore', 'latest', '--to', at('out'));
  const [disk = ''] = (await readdir(at('out'))).filter((name) => name.endsWith('.raw'));
  assert.ok(content.equals(await readFile(at('out', disk))));
  await prima('check', '--read-data');
  await prima('disk', 'info', at('disk.raw'));

  await t.test('an export serves until Ctrl-C, which ends it well', async () => {
    await using served = spawnPrima(['export', 'latest', '--socket', at('read.sock')], { env });
    const [uri] = await served.printed(/nbd\+unix:\S+/);
    const compared = await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', at('disk.raw'), uri]);
    assert.match(compared.stdout, /Images are identical/);
    served.kill('SIGINT');
    assert.equal((await served.result).status, 0);
    assert.equal(server.jobs.at(-1)?.state, 'cancelled');
  });

  await t.test('a copy goes to another repository, opened by a key file from here', async () => {
    await writeFile(at('key'), randomBytes(64), { mode: 0o600 });
    await prima('copy', '--all', '--create', '--to', at('copy'), '--to-key-file', at('key'), '--verify');
    const own = { PRIMA_HOME: at('home2'), PRIMA_REPO: at('copy') };
    const { status, stdout } = await runPrima(['points', '--key-file', at('key')], { env: own });
    assert.equal(status, 0);
    assert.match(stdout, /disk/);
    assert.doesNotMatch(JSON.stringify(server.jobs.map(({ request }) => request)), /base64":"[^…]/);
  });

  await t.test('a failure has the same words and status', async () => {
    const nothing = await runPrima(['show', 'nothing@latest'], { env });
    assert.equal(nothing.status, errorCodes['not-found'].exit);
    const alone = {
      PRIMA_HOME: at('home2'),
      PRIMA_REPO: at('repository'),
      PRIMA_PASSPHRASE: 'a long passphrase',
    };
    assert.deepEqual(await runPrima(['show', 'nothing@latest'], { env: alone }), nothing);
    const half = await runPrima(['backup', at('gone.raw'), at('disk.raw'), '--json', '--quiet'], { env });
    assert.equal(half.status, errorCodes['not-found'].exit);
    const { result } = JSON.parse(half.stdout) as { result: BackupResult };
    assert.deepEqual(
      result.results.map(({ error }) => error?.code),
      ['not-found', undefined],
    );
    const demo = await runPrima(['demo'], { env });
    assert.equal(demo.status, errorCodes.unsupported.exit);
  });

  await prima('forget', second.id);
  assert.equal((await answer<PointDto[]>('points')).length, 2);
});

test('a machine: made, started, backed up hot, looked at, restored as another', async (t) => {
  const guest = await buildTinyGuest();
  const { at, prima, answer } = await bench(t);
  await guest.rootDisk(at('system.raw'));
  await prima('init');
  await mkdir(at('machines'));
  await prima('host', 'add', 'lab', at('machines'));
  const kernel = ['--kernel', guest.kernel, '--initrd', guest.initrd];
  const append = ['--append', guest.kernelArguments({ write: true })];
  const disk = ['--memory', '192M', '--disk-copy', `${at('system.raw')}:qcow2`];
  await prima('machine', 'create', 'lab/web', ...disk, ...kernel, ...append);
  await prima('machine', 'start', 'lab/web');
  await waitUntil(
    async () => (await answer<{ agent: string }>('machine', 'show', 'lab/web')).agent === 'answers',
    { what: 'the agent of the machine', timeoutMs: 120_000 },
  );
  const point = (await answer<BackupResult>('backup', 'lab/web')).results[0]?.point;
  assert.deepEqual([point?.mode, point?.quiesced], ['hot', true]);
  await prima('machine', 'screenshot', 'lab/web', at('screen.png'));
  assert.deepEqual((await readFile(at('screen.png'))).subarray(1, 4).toString(), 'PNG');
  assert.match(await prima('machine', 'console', 'lab/web'), /PRIMA-BOOTED/);
  await prima('restore', 'web@latest', '--to-host', 'lab', '--as', 'web2');
  const machines = await answer<{ name: string; lastPoint?: string }[]>('machine', 'list', 'lab');
  assert.deepEqual(machines.map(({ name }) => name).sort(), ['web', 'web2']);
  assert.equal(machines.find(({ name }) => name === 'web')?.lastPoint, point?.time);
});

test('a backup whose connection breaks again and again tells and answers all', async (t) => {
  const { at, env, server, prima } = await bench(t, 24 * MiB);
  await writeFile(at('disk.raw'), randomBytes(48 * MiB));
  await prima('init');
  await using running = spawnPrima(['backup', at('disk.raw'), '--json'], { env });
  const breaking = setInterval(() => server.breakConnections(), 150);
  const { status, stdout, stderr } = await running.result.finally(() => clearInterval(breaking));
  assert.equal(status, 0, stderr);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; message?: string });
  const logs = lines.filter(({ type }) => type === 'log').map(({ message }) => message);
  const told = server.jobs.at(-1)?.events ?? [];
  assert.deepEqual(
    logs,
    told.flatMap((it) => ('message' in it && 'level' in it && it.level !== 'debug' ? [it.message] : [])),
  );
  assert.equal(lines.at(-1)?.type, 'result');
});

test('Ctrl-C cancels a backup on the server: it ends, no point is left, the status is 130', async (t) => {
  const { at, env, server, prima, answer } = await bench(t, MiB);
  await writeFile(at('disk.raw'), randomBytes(160 * MiB));
  await prima('init');
  await using running = spawnPrima(['backup', at('disk.raw'), '--json'], { env });
  await running.printed(/"type":"progress"/);
  running.kill('SIGINT');
  const { status, stderr } = await running.result;
  assert.equal(status, 130, stderr);
  assert.equal(server.jobs.at(-1)?.state, 'cancelled');
  assert.deepEqual(await answer<PointDto[]>('points'), []);
});
