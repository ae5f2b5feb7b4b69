/** vmsnap, vmsnap_all and vmres on machines that write: hot, by redo logs, and back. */
import assert from 'node:assert/strict';
import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openQemuHost, type Platform } from '@prima/platforms';
import { type PrimaResult, runPrima, spawnPrima, temporaryFolder, verifyRecords } from '@prima/testbed';
import { createGuest, startGuest, testHost, withAgent } from './qemu-host-fixture.ts';

test('a machine that writes, exported hot and restored', async (t) => {
  const host = await testHost(t);
  const home = await temporaryFolder(t);
  const images = await temporaryFolder(t);
  const spares: Platform[] = [];
  // registered, and so run, before the folder is removed
  t.after(async () => {
    for (const platform of spares)
      for (const found of await platform.inventory()) await platform.power(found, 'kill');
  });
  const other = await temporaryFolder(t);
  const env = { PRIMA_HOME: home };
  const run = (program: string, ...args: string[]): Promise<PrimaResult> => runPrima(args, { env, program });
  const good = async (program: string, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(program, ...args);
    assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const spare = await openQemuHost('spare', other);
  spares.push(spare);
  const machine = await startGuest(host, await createGuest(host, 'web01'));
  const folder = machine.folder ?? '';
  const records = async () => {
    const report = await withAgent(machine, (agent) => verifyRecords(agent));
    assert.equal(report.bad, 0, JSON.stringify(report));
    return report.last;
  };
  const noLogs = async () =>
    assert.deepEqual(
      (await readdir(folder)).filter((name) => /REDO|redo/.test(name)),
      [],
    );
  await good('prima', 'host', 'add', 'lab', host.root);
  await good('prima', 'host', 'add', 'spare', other);
  const before = await records();

  await t.test('vmsnap', async () => {
    const log = join(home, 'vmsnap.log');
    const said = await good('vmsnap', '-c', join(folder, 'web01.vmx'), '-d', images, '-l', log);
    assert.match(said, /web01: .* \(hot, quiesced; 2 disks/);
    assert.deepEqual((await readdir(join(images, 'web01'))).sort(), [
      'disk0-s001.vmdk',
      'disk0.vmdk',
      'disk1-s001.vmdk',
      'disk1.vmdk',
      'machine.launch.json',
      'web01.mf',
      'web01.vmx',
    ]);
    await noLogs();
    assert.ok((await records()) > before, 'the machine has gone on');
  });

  await t.test('vmsnap again needs -f; vmsnap_all takes what runs', async () => {
    const refused = await run('vmsnap', 'lab/web01', '-d', images);
    assert.equal(refused.status, 4, refused.stderr);
    await good('vmsnap_all', '-d', images, '-f');
    assert.deepEqual(await readdir(images), ['web01']);
    await noLogs();
  });

  await t.test('killed, it leaves a machine that writes to its own disks', async () => {
    await using dying = spawnPrima(['lab/web01', '-d', join(images, 'second')], { env, program: 'vmsnap' });
    await new Promise((resolve) => setTimeout(resolve, 6000));
    dying.kill();
    await dying.result;
    // any command that works on machines mends what the guardian has not
    await good('prima', 'disk', 'redo', 'add', 'lab/web01');
    await good('prima', 'disk', 'redo', 'commit', 'lab/web01');
    await noLogs();
    await records();
  });

  await t.test('vmres brings it back, whole', async () => {
    await good('vmres', '-H', 'spare', '-d', images, 'web01', '-n', 'web02');
    const restored = await startGuest({ ...host, platform: spare, root: other }, await spare.find('web02'));
    const report = await withAgent(restored, (agent) => verifyRecords(agent));
    assert.equal(report.bad, 0, JSON.stringify(report));
    assert.ok(report.last >= before, 'with all that was written before');
    await spare.power(restored, 'kill');
  });

  await t.test('a folder that is not what its manifest says is not restored', async () => {
    await appendFile(join(images, 'web01', 'disk1-s001.vmdk'), 'x');
    const { status, stderr } = await run('vmres', '-H', 'spare', '-d', images, 'web01', '-n', 'web03');
    assert.equal(status, 12, stderr);
    assert.deepEqual((await readdir(other)).sort(), ['web02']);
  });
});
