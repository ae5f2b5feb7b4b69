/** `prima --server` against `prima server`, both as processes: what goes over TLS, by whom, and through restarts. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BackupResult, PointDto } from '@prima/api';
import type { AuditLine, Role } from '@prima/api/http';
import { errorCodes, MiB } from '@prima/base';
import { memoryDevice, throttledDevice } from '@prima/block';
import { serveNbd } from '@prima/nbd';
import {
  buildTinyGuest,
  type Cleanup,
  freePorts,
  runPrima,
  spawnPrima,
  temporaryFolder,
  waitUntil,
} from '@prima/testbed';
import { Visitor } from '../server/server-fixture.ts';

interface Serving {
  url: string;
  fingerprint?: string;
  firstLink?: string;
}

class Bench {
  readonly folder: string;
  readonly #port: number;
  #process: ReturnType<typeof spawnPrima> | undefined;
  serving: Serving = { url: '' };
  /** By role. */
  readonly tokens: Partial<Record<Role, string>> = {};

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.#port = port;
  }

  /** A server with TLS, a repository `main`, and a token of each role that is asked for. */
  static async open(t: Cleanup, ...roles: Role[]): Promise<Bench> {
    const ends: (() => Promise<unknown>)[] = [];
    t.after(async () => {
      // registered, and so run, before the folder is removed
      for (const end of ends) await end();
    });
    const folder = await temporaryFolder(t);
    const [port = 0] = await freePorts(1);
    const bench = new Bench(folder, port);
    const alone = { PRIMA_HOME: bench.at('home') };
    ends.push(
      () => bench.stop('SIGKILL'),
      () => runPrima(['machine', 'stop', '--hard', 'lab/web'], { env: alone }), // where there is one
    );
    await bench.start('--plain-http'); // the tests' visitor has no way to trust a certificate
    const visitor = await bench.#visitor();
    const passphrase = 'a long passphrase';
    const body = { name: 'main', url: bench.at('repository'), passphrase, create: true };
    await visitor.call('addRepository', { body });
    for (const role of roles) {
      const { secret } = await visitor.call('createToken', { body: { name: role, roles: [role], days: 1 } });
      bench.tokens[role] = secret;
    }
    await bench.stop('SIGTERM');
    await bench.start();
    return bench;
  }

  at(...names: string[]): string {
    return join(this.folder, ...names);
  }

  async #visitor(): Promise<Visitor> {
    const visitor = new Visitor(this.serving.url);
    await visitor.useLink(this.serving.firstLink ?? '', 'admin');
    return visitor;
  }

  async start(...more: string[]): Promise<void> {
    const args = [
      'server',
      '--json',
      '--home',
      this.at('home'),
      '--listen',
      `127.0.0.1:${this.#port}`,
      ...more,
    ];
    this.#process = spawnPrima(args);
    const [line] = await this.#process.printed(/^\{.*"type":"result".*\}$/m);
    this.serving = (JSON.parse(line) as { result: Serving }).result;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#process?.kill(signal);
    await this.#process?.result;
    this.#process = undefined;
  }

  environment(role: Role = 'administrator'): Record<string, string> {
    return {
      PRIMA_SERVER: this.serving.url,
      PRIMA_SERVER_FINGERPRINT: this.serving.fingerprint ?? '',
      PRIMA_TOKEN: this.tokens[role] ?? '',
      PRIMA_REPO: 'main',
      HOME: this.at('nobody'),
    };
  }

  async prima(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await runPrima(args, { env: this.environment() });
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  }

  async answer<T>(...args: string[]): Promise<T> {
    const lines = (await this.prima('--json', '--quiet', ...args)).trim().split('\n');
    return (JSON.parse(lines.at(-1) ?? '') as { result: T }).result;
  }
}

/** A disk of random data that is read at 4 MiB a second, and its address. */
async function slowDisk(t: Cleanup, bench: Bench, size: number): Promise<{ url: string; bytes: Uint8Array }> {
  const bytes = randomBytes(size);
  const device = memoryDevice(size);
  await device.write(0, bytes);
  const server = await serveNbd({
    listen: { socketPath: bench.at('slow.sock') },
    exports: [{ name: 'slow', device: throttledDevice(device, { bytesPerSecond: 4 * MiB }) }],
  });
  t.after(() => server.close());
  return { url: `nbd+unix:///slow?socket=${bench.at('slow.sock')}`, bytes };
}

test('over TLS, known by its fingerprint: back up, list, show, restore a disk', async (t) => {
  const bench = await Bench.open(t, 'administrator', 'operator', 'viewer');
  const content = randomBytes(6 * MiB);
  await writeFile(bench.at('disk.raw'), content);
  const { results } = await bench.answer<BackupResult>('backup', bench.at('disk.raw'));
  const id = results[0]?.point?.id ?? '';
  assert.deepEqual(
    (await bench.answer<PointDto[]>('points')).map((point) => point.id),
    [id],
  );
  assert.match(await bench.prima('show', 'latest'), new RegExp(id.slice(0, 8)));
  await bench.prima('restore', 'latest', '--to', bench.at('out'));
  const [disk = ''] = (await readdir(bench.at('out'))).filter((name) => name.endsWith('.raw'));
  assert.ok(content.equals(await readFile(bench.at('out', disk))));

  await t.test('another certificate, or another token, gets nothing', async () => {
    const env = bench.environment();
    const other = { ...env, PRIMA_SERVER_FINGERPRINT: `sha256:${'ab'.repeat(32)}` };
    const mistrusted = await runPrima(['points'], { env: other });
    assert.equal(mistrusted.status, errorCodes.permission.exit);
    assert.match(mistrusted.stderr, /cannot be trusted/);
    const nobody = await runPrima(['points'], { env: { ...env, PRIMA_TOKEN: 'prima_nobody' } });
    assert.equal(nobody.status, errorCodes.unauthorized.exit);
    assert.match(nobody.stderr, /token/);
  });

  await t.test('an administrator exports the audit log, and nobody else does', async () => {
    const lines = (await bench.prima('audit', 'export')).trim().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as AuditLine);
    assert.deepEqual(
      entries.map(({ sequence }) => sequence),
      entries.map((_, index) => index + 1),
    );
    assert.ok(entries.some(({ action, outcome }) => action === 'backup' && outcome === 'done'));
    assert.equal(await bench.prima('audit', 'export', '--from', '2999-01-01'), '');
    const refused = await runPrima(['audit', 'export'], { env: bench.environment('viewer') });
    assert.equal(refused.status, errorCodes.forbidden.exit);
  });

  await t.test('paths of the server are an administrator’s; what a viewer may, others may', async () => {
    for (const role of ['operator', 'viewer'] as const) {
      const env = bench.environment(role);
      assert.equal((await runPrima(['points'], { env })).status, 0);
      const refused = await runPrima(['backup', bench.at('disk.raw')], { env });
      assert.equal(refused.status, errorCodes.forbidden.exit, refused.stdout);
    }
    assert.equal((await bench.answer<PointDto[]>('points')).length, 1);
  });
});

test('an operator backs up a running machine, a restorer makes another of it, and neither may do the other', async (t) => {
  const guest = await buildTinyGuest();
  const bench = await Bench.open(t, 'administrator', 'operator', 'restorer');
  const as = async (role: Role, ...args: string[]) =>
    (await runPrima(args, { env: bench.environment(role) })).status;
  await guest.rootDisk(bench.at('system.raw'));
  await mkdir(bench.at('machines'));
  await bench.prima('host', 'add', 'lab', bench.at('machines'));
  const disk = ['--memory', '192M', '--disk-copy', `${bench.at('system.raw')}:qcow2`];
  const kernel = ['--kernel', guest.kernel, '--initrd', guest.initrd];
  const append = ['--append', guest.kernelArguments({ write: true })];
  await bench.prima('machine', 'create', 'lab/web', ...disk, ...kernel, ...append);
  assert.equal(await as('operator', 'machine', 'start', 'lab/web'), 0);
  await waitUntil(
    async () => (await bench.answer<{ agent: string }>('machine', 'show', 'lab/web')).agent === 'answers',
    { what: 'the agent of the machine', timeoutMs: 120_000 },
  );
  assert.equal(await as('restorer', 'backup', 'lab/web'), errorCodes.forbidden.exit);
  assert.equal(await as('operator', 'backup', 'lab/web'), 0);
  const [point] = await bench.answer<PointDto[]>('points', 'web');
  assert.deepEqual([point?.mode, point?.quiesced], ['hot', true]);
  const restore = ['restore', 'web@latest', '--to-host', 'lab', '--as', 'web2'];
  assert.equal(await as('operator', ...restore), errorCodes.forbidden.exit);
  assert.equal(await as('restorer', ...restore), 0);
  await bench.prima('machine', 'screenshot', 'lab/web', bench.at('screen.png'));
  assert.equal((await readFile(bench.at('screen.png'))).subarray(1, 4).toString(), 'PNG');
  const machines = await bench.answer<{ name: string }[]>('machine', 'list', 'lab');
  assert.deepEqual(machines.map(({ name }) => name).sort(), ['web', 'web2']);
});

test('Ctrl-C cancels the job on the server and waits for its end', async (t) => {
  const bench = await Bench.open(t, 'administrator');
  const { url } = await slowDisk(t, bench, 64 * MiB);
  await using running = spawnPrima(['backup', url, '--json'], { env: bench.environment() });
  await running.printed(/"type":"progress"/);
  running.kill('SIGINT');
  const { status, stderr } = await running.result;
  assert.equal(status, 130, stderr);
  assert.deepEqual(await bench.answer<PointDto[]>('points'), []);
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a backup goes on when the server is ended by ${signal} and started again`, async (t) => {
    const bench = await Bench.open(t, 'administrator');
    const { url, bytes } = await slowDisk(t, bench, 12 * MiB);
    await using running = spawnPrima(['backup', url, '--json'], { env: bench.environment() });
    await running.printed(/"type":"progress"/);
    await bench.stop(signal);
    await bench.start();
    const { status, stdout, stderr } = await running.result;
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.equal((await bench.answer<PointDto[]>('points')).length, 1);
    await bench.prima('restore', 'latest', '--to', bench.at('out'));
    const [disk = ''] = (await readdir(bench.at('out'))).filter((name) => name.endsWith('.raw'));
    assert.ok(Buffer.from(bytes).equals(await readFile(bench.at('out', disk))));
  });
}
