/** QMP and machine processes with real QEMU programs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { liveness, MiB, ownIdentity, PrimaError, systemClock } from '@prima/base';
import {
  accelerator,
  connectQmp,
  createImage,
  findMachineProcess,
  launchMachine,
  type LaunchSpec,
  monitorArguments,
  plainArguments,
  startGuarded,
} from '@prima/qemu';
import { temporaryFolder } from '@prima/testbed';

let folder = '';
let count = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prima-machine-'));
});
afterEach(async () => {
  for (const name of await readdir(folder)) await (await findMachineProcess(join(folder, name)))?.kill();
});
after(async () => {
  await rm(folder, { recursive: true });
});

/** A machine without anything in it, in a folder whose path is longer than a socket address. */
async function emptyMachine(): Promise<LaunchSpec> {
  count += 1;
  const runFolder = join(folder, `${count}-${'long'.repeat(30)}`);
  await mkdir(runFolder);
  const monitors = [...monitorArguments('control', 'control.qmp'), ...monitorArguments('jobs', 'jobs.qmp')];
  return {
    runFolder,
    monitor: 'control.qmp',
    arguments: ['-machine', 'none', ...plainArguments(), '-S', ...monitors],
  };
}

async function failureOf(promise: Promise<unknown>): Promise<PrimaError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, `a PrimaError was wanted: ${String(error)}`);
  return error;
}

test('a machine is launched, found, asked over two monitors, and gone after quit', async () => {
  const spec = await emptyMachine();
  const { process: machine, qmp } = await launchMachine(spec);
  assert.ok(qmp.version.major >= 7);
  const jobs = await connectQmp(join(spec.runFolder, 'jobs.qmp'));
  assert.deepEqual((await jobs.execute<{ status: string }>('query-status')).status, 'prelaunch');
  const found = await findMachineProcess(spec.runFolder);
  assert.deepEqual(found?.identity, machine.identity);
  assert.equal((await failureOf(launchMachine(spec))).code, 'state');
  const busy = await failureOf(connectQmp(join(spec.runFolder, 'jobs.qmp'), { timeoutMs: 300 }));
  assert.equal(busy.code, 'timeout');
  assert.match(busy.message, /one at a time/);
  const refused = await failureOf(qmp.execute('no-such-command'));
  assert.equal(refused.details.class, 'CommandNotFound');
  const shutdown = jobs.waitFor('SHUTDOWN');
  await qmp.execute('quit');
  assert.equal((await shutdown).reason, 'host-qmp-quit');
  await Promise.all([qmp.closed, jobs.closed, machine.waitForExit()]);
  assert.equal(await findMachineProcess(spec.runFolder), undefined);
  const again = await launchMachine(spec);
  await again.qmp.close();
  await again.process.kill();
  await again.process.kill();
  assert.equal(await again.process.isAlive(), false);
});

test('a machine outlives the process that started it, and does not get its secrets', async () => {
  const spec = await emptyMachine();
  const source = new URL('../../packages/qemu/src/mod.ts', import.meta.url).href;
  const starter = join(spec.runFolder, 'starter.ts');
  await writeFile(
    starter,
    `import { launchMachine } from ${JSON.stringify(source)};
     await launchMachine(${JSON.stringify(spec)});
     process.kill(process.pid, 'SIGKILL');`,
  );
  const child = spawn(process.execPath, [starter], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, PRIMA_PASSPHRASE: 'secret' },
  });
  const [, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('exit', (...how) => resolve(how));
  });
  assert.equal(signal, 'SIGKILL');
  const machine = await findMachineProcess(spec.runFolder);
  assert.ok(machine);
  assert.ok(!(await readFile(`/proc/${machine.identity.pid}/environ`, 'utf8')).includes('secret'));
  const qmp = await connectQmp(join(spec.runFolder, 'control.qmp'));
  await qmp.close();
  await machine.kill();
});

test('what fails leaves no process and shows the end of the log', async () => {
  const spec = await emptyMachine();
  const bogus = await failureOf(launchMachine({ ...spec, arguments: [...spec.arguments, '-bogus'] }));
  assert.equal(bogus.code, 'remote');
  assert.match(bogus.message, /-bogus: invalid option/);
  assert.equal(
    (await failureOf(launchMachine({ ...spec, monitor: 'other', timeoutMs: 500 }))).code,
    'timeout',
  );
  const cancel = new AbortController();
  const cancelled = launchMachine({ ...spec, monitor: 'other', signal: cancel.signal });
  await systemClock.sleep(50);
  cancel.abort();
  assert.equal((await failureOf(cancelled)).code, 'cancelled');
  assert.equal((await failureOf(launchMachine({ ...spec, program: 'qemu-none' }))).code, 'missing-program');
  assert.equal(await findMachineProcess(spec.runFolder), undefined);
});

test('of two that start at once, one wins and the other leaves it alone', async () => {
  const spec = await emptyMachine();
  const results = await Promise.allSettled([launchMachine(spec), launchMachine(spec)]);
  const won = results.filter((result) => result.status === 'fulfilled');
  assert.equal(won.length, 1);
  const [winner] = won;
  assert.ok(winner && (await winner.value.process.isAlive()));
  assert.equal((await findMachineProcess(spec.runFolder))?.identity.pid, winner.value.process.identity.pid);
  assert.equal((await winner.value.qmp.execute<{ running: boolean }>('query-status')).running, false);
  await winner.value.qmp.close();
});

test('a pid that belongs to another process is not taken for the machine', async () => {
  const spec = await emptyMachine();
  await writeFile(join(spec.runFolder, 'qemu.pid'), `${process.pid}\n`);
  assert.equal(await findMachineProcess(spec.runFolder), undefined);
  assert.equal(await liveness(await ownIdentity()), 'alive');
  await writeFile(join(spec.runFolder, 'qemu.pid'), 'rubbish');
  assert.equal((await failureOf(findMachineProcess(spec.runFolder))).code, 'format');
  await rm(join(spec.runFolder, 'qemu.pid'));
});

test('the storage daemon speaks QMP too', async () => {
  const image = join(folder, 'daemon.qcow2');
  await createImage(image, { format: 'qcow2', size: MiB });
  const chardev = 'socket,id=c,path=d.qmp,server=on,wait=off';
  const daemon = await startGuarded('qemu-storage-daemon', ['--chardev', chardev, '--monitor', 'chardev=c'], {
    folder: join(folder, 'daemon'),
  });
  try {
    let qmp;
    for (let attempt = 0; !qmp && attempt < 200; attempt += 1) {
      await systemClock.sleep(25);
      qmp = await connectQmp(join(daemon.folder, 'd.qmp')).catch((error: unknown) => {
        if (error instanceof PrimaError && error.code === 'remote') return undefined;
        throw error;
      });
    }
    assert.ok(qmp, daemon.stderr());
    const file = { driver: 'file', filename: image };
    await qmp.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'd0', file });
    const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
    assert.ok(nodes.some((node) => node['node-name'] === 'd0'));
    await qmp.execute('quit');
    await qmp.closed;
  } finally {
    await daemon.close();
    await rm(image);
  }
});

test('the accelerator has a reason', async (t) => {
  const { kind, reason } = await accelerator();
  assert.ok(kind === 'kvm' || kind === 'tcg');
  assert.ok(reason.length > 0);
  assert.deepEqual(await accelerator({ device: '/nonexistent/kvm' }), {
    kind: 'tcg',
    reason: '/nonexistent/kvm is missing',
  });
  const processors = join(await temporaryFolder(t), 'cpuinfo');
  await writeFile(processors, 'processor\t: 0\nflags\t\t: fpu vme lm\n');
  const helpless = await accelerator({ device: '/dev/null', processors });
  assert.equal(helpless.kind, 'tcg');
  assert.match(helpless.reason, /neither vmx nor svm/);
});
