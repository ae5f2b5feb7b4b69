/** A machine as an OVF package and back: through `bin/prima`, tar and qemu-img, until it boots again. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type {
  BackupResult,
  MachineConfigurationDto,
  MachineImportResult,
  PointDto,
  RestoreResult,
} from '@prima/api';
import { MiB, runProgram } from '@prima/base';
import { parseVmx, writeVmx } from '@prima/formats';
import { connectGuestAgent } from '@prima/qemu';
import {
  buildTinyGuest,
  randomFile,
  runPrima,
  spawnPrima,
  temporaryFolder,
  type TinyGuest,
  waitUntil,
} from '@prima/testbed';

async function world(t: TestContext) {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'a long passphrase' };
  const raw = async (...args: string[]) => await runPrima(['--json', '--quiet', ...args], { env });
  const prima = async <T>(...args: string[]): Promise<T> => {
    const { status, stdout, stderr } = await raw(...args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return (JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { result: T }).result;
  };
  const fails = async (message: RegExp, ...args: string[]): Promise<void> => {
    const { status, stdout, stderr } = await raw(...args);
    assert.notEqual(status, 0, stdout);
    assert.match(stdout + stderr, message);
  };
  const backup = async (...args: string[]): Promise<PointDto> => {
    const { results } = await prima<BackupResult>('backup', ...args);
    assert.ok(results[0]?.point, JSON.stringify(results));
    return results[0].point;
  };
  await prima('init');
  for (const host of ['lab', 'other']) {
    await mkdir(at(host));
    await prima('host', 'add', host, at(host));
  }
  return { at, env, prima, fails, backup };
}

type World = Awaited<ReturnType<typeof world>>;

const options = (guest: TinyGuest) => [
  '--memory',
  '192M',
  '--kernel',
  guest.kernel,
  '--initrd',
  guest.initrd,
  '--append',
  guest.kernelArguments({ write: true }),
];

async function sameDisks(a: string, b: string): Promise<void> {
  const { stdout } = await runProgram('qemu-img', ['compare', a, b], { accept: [0, 1], timeoutMs: 120_000 });
  assert.match(stdout, /Images are identical/, `${a} and ${b}`);
}

const sha256 = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

/** A package has no place for a kernel: it is told to the machine again. */
async function boots({ at, env, prima }: World, name: string, guest: TinyGuest): Promise<void> {
  const path = at('other', name, `${name}.vmx`);
  const vmx = parseVmx(await readFile(path));
  vmx.set('prima.kernel', guest.kernel);
  vmx.set('prima.initrd', guest.initrd);
  vmx.set('prima.append', guest.kernelArguments({}));
  await writeFile(path, writeVmx(vmx));
  try {
    await prima('machine', 'start', `other/${name}`);
    const socket = at('other', name, '.run', 'qga.sock');
    await waitUntil(
      async () => {
        try {
          const agent = await connectGuestAgent(socket, { timeoutMs: 2000 });
          await agent.close();
          return true;
        } catch {
          return undefined; // not yet
        }
      },
      { what: `the agent of ${name}`, timeoutMs: 180_000 },
    );
  } finally {
    await runPrima(['machine', 'stop', '--hard', `other/${name}`], { env });
  }
}

test('a machine, its OVA, and a machine again that boots', async (t) => {
  const w = await world(t);
  const { at, prima, fails, backup } = w;
  const guest = await buildTinyGuest();
  await guest.rootDisk(at('system.raw'));
  await prima('machine', 'create', 'lab/web', '--disk-copy', `${at('system.raw')}:qcow2`, ...options(guest));
  const point = await backup('lab/web');
  const restored = await prima<RestoreResult>('restore', point.id, '--to', at('web.ova'));
  assert.ok(restored.notCarried?.some(({ where }) => where === 'kernel'));
  await fails(/already has web\.ova/, 'restore', point.id, '--to', at('web.ova'));

  await t.test('tar, a digest and qemu-img see what the manifest says', async () => {
    await mkdir(at('unpacked'));
    await runProgram('tar', ['-xf', at('web.ova'), '-C', at('unpacked')]);
    assert.deepEqual((await readdir(at('unpacked'))).sort(), ['web-disk1.vmdk', 'web.mf', 'web.ovf']);
    const manifest = await readFile(at('unpacked', 'web.mf'), 'utf8');
    for (const name of ['web.ovf', 'web-disk1.vmdk'])
      assert.ok(manifest.includes(`SHA256(${name})= ${await sha256(at('unpacked', name))}\n`), manifest);
    await sameDisks(at('unpacked', 'web-disk1.vmdk'), at('system.raw'));
    const { stdout } = await runProgram('tar', ['-tf', at('web.ova')]);
    assert.deepEqual(stdout.trim().split('\n'), ['web.ovf', 'web.mf', 'web-disk1.vmdk']);
  });

  await t.test('imported from the OVA, from the envelope, and from a backup of the OVA', async () => {
    const imported = await prima<MachineImportResult>('machine', 'import', 'other', at('web.ova'));
    assert.equal(imported.machine.name, 'web');
    await sameDisks(imported.disks[0]?.path ?? '', at('system.raw'));
    await boots(w, 'web', guest);
    await prima('restore', point.id, '--to', at('folder', 'web2.ovf'));
    await prima('machine', 'import', 'other', at('folder', 'web2.ovf'), '--name', 'two');
    await sameDisks(at('other', 'two', 'disk0.raw'), at('system.raw'));
    const again = await backup(at('web.ova'));
    assert.deepEqual([again.machine, again.files.map(({ name }) => name)], ['web', ['machine.ovf']]);
    await prima('restore', again.id, '--to-host', 'other', '--as', 'three');
    await sameDisks(at('other', 'three', 'disk0.raw'), at('system.raw'));
    const shown = await prima<MachineConfigurationDto>('machine', 'config', 'show', again.id, '--as', 'vmx');
    assert.match(shown.text, /displayName = "web"/);
  });
});

test('what is not what it was packed as makes no machine', async (t) => {
  const { at, prima, fails, backup } = await world(t);
  await randomFile(at('disk.raw'), { size: 8 * MiB, dataFraction: 0.9, seed: 7 });
  const point = await backup(at('disk.raw'));
  await prima('restore', point.id, '--to', at('a.ova'));
  await prima('restore', point.id, '--to', at('b.ovf'));
  const { size } = await stat(at('a.ova'));
  await using file = await open(at('a.ova'), 'r+');
  await file.write(Buffer.from('x'), 0, 1, size - 100_000);
  await fails(
    /not what its manifest says: .*disk1\.vmdk has SHA256/,
    'machine',
    'import',
    'lab',
    at('a.ova'),
  );
  await fails(/not what its manifest says/, 'backup', at('a.ova'));
  await file.truncate(size - 200_000);
  await fails(/it ends at byte/, 'machine', 'import', 'lab', at('a.ova'));
  const envelope = await readFile(at('b.ovf'), 'utf8');
  const outside = envelope.replace('ovf:href="b-disk1.vmdk"', 'ovf:href="..%2Fdisk.raw"');
  assert.notEqual(outside, envelope);
  await writeFile(at('c.ovf'), outside);
  await fails(/only files beside the envelope/, 'machine', 'import', 'lab', at('c.ovf'));
  await writeFile(at('c.ovf'), envelope.replaceAll('b-disk1.vmdk', 'gone.vmdk'));
  await fails(/gone\.vmdk.*is not there/, 'machine', 'import', 'lab', at('c.ovf'));
  await mkdir(at('vm'));
  await writeFile(at('vm', 'm.vmx'), `memsize = "64"\nsata0:0.fileName = "${at('disk.raw')}"\n`);
  await fails(/only files below/, 'machine', 'import', 'lab', at('vm', 'm.vmx'));
  assert.deepEqual(await readdir(at('lab')), []);
});

test('an import that is killed leaves nothing on the host', async (t) => {
  const { at, env, prima, backup } = await world(t);
  await randomFile(at('disk.raw'), { size: 96 * MiB, dataFraction: 0.95, seed: 8 });
  const point = await backup(at('disk.raw'));
  await prima('restore', point.id, '--to', at('a.ova'));
  await using killed = spawnPrima(['machine', 'import', 'lab', at('a.ova')], { env });
  await waitUntil(async () => (await readdir(at('lab'))).length > 0 || undefined, {
    what: 'the staged machine',
  });
  killed.kill('SIGKILL');
  await killed.result;
  assert.notDeepEqual(await readdir(at('lab')), []);
  await prima('machine', 'create', 'other/any');
  assert.deepEqual(await readdir(at('lab')), []);
  await using interrupted = spawnPrima(['restore', point.id, '--to', at('again.ova')], { env });
  await waitUntil(async () => (await readdir(at())).some((name) => name.includes('again.ova')) || undefined, {
    what: 'the OVA in the making',
  });
  interrupted.kill('SIGINT');
  const { status } = await interrupted.result;
  assert.equal(status, 130);
  assert.deepEqual(
    (await readdir(at())).filter((name) => name.includes('again.ova')),
    [],
  );
});
