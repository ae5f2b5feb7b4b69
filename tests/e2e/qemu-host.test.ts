/** Machines on a plain QEMU host: made, started, found again by another process, suspended, stopped, deleted. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { projectRoot } from '@prima/testbed';
import { createGuest, failureOf, shell, startGuest, testHost } from './qemu-host-fixture.ts';

test('a machine lives through create, start, suspend, resume, stop and delete', async (t) => {
  const host = await testHost(t);
  const { platform, root } = host;
  let machine: Machine = await createGuest(host, 'web01');
  assert.equal(machine.state, 'off');
  assert.deepEqual(
    machine.disks.map(({ name, slot, format, excluded }) => [name, slot, format, excluded]),
    [
      ['disk0', 'scsi0:0', 'qcow2', undefined],
      ['disk1', 'scsi0:1', 'raw', undefined],
    ],
  );
  assert.equal((await failureOf(createGuest({ ...host, scratch: host.root }, 'web01'))).code, 'exists');

  machine = await startGuest(host, machine);
  assert.equal(machine.state, 'running');
  await platform.power(machine, 'start'); // is running already: nothing happens
  assert.equal((await failureOf(platform.delete(machine))).code, 'state');
  assert.equal(
    (await failureOf(platform.openForBackup(machine, { mode: 'cold', owner: 'a' }))).code,
    'state',
  );
  const bootId = await shell(machine, 'cat /proc/sys/kernel/random/boot_id');

  await t.test('another process finds it', async () => {
    const script = `
      import { openQemuHost } from '@prima/platforms';
      const host = await openQemuHost('lab', process.argv[1]);
      console.log(JSON.stringify(await host.find('web01')));`;
    const program = join(projectRoot, 'scripts/node');
    const args = ['--input-type=module', '-e', script, root];
    const { stdout } = await runProgram(program, args, { cwd: join(projectRoot, 'tests') });
    const found = JSON.parse(stdout) as Machine;
    assert.equal(found.state, 'running');
    assert.equal(found.id, machine.id);
    assert.equal(found.agent, 'answers');
  });

  await t.test('its screen and its console can be seen', async () => {
    const png = await platform.screenshot(machine);
    assert.equal(Buffer.from(png.subarray(1, 4)).toString(), 'PNG');
    assert.match(await platform.consoleLog(machine), new RegExp(bootId));
  });

  await t.test('paused and continued', async () => {
    assert.equal((await platform.power(machine, 'pause')).state, 'paused');
    assert.equal((await platform.power(machine, 'continue')).state, 'running');
  });

  await t.test('suspended to disk and resumed where it was', async () => {
    const counter = Number(await shell(machine, 'cat /run/counter'));
    assert.equal((await platform.power(machine, 'suspend')).state, 'suspended');
    assert.equal((await failureOf(platform.power(machine, 'stop'))).code, 'state');
    assert.equal((await platform.power(machine, 'resume')).state, 'running');
    assert.equal(await shell(machine, 'cat /proc/sys/kernel/random/boot_id'), bootId);
    assert.ok(Number(await shell(machine, 'cat /run/counter')) >= counter);
  });

  await t.test('killed hard, and stopped by its power button', async () => {
    assert.equal((await platform.power(machine, 'kill')).state, 'off');
    machine = await startGuest(host, machine);
    assert.notEqual(await shell(machine, 'cat /proc/sys/kernel/random/boot_id'), bootId);
    assert.equal((await platform.power(machine, 'stop')).state, 'off');
  });

  await platform.delete(machine);
  assert.deepEqual(await platform.inventory(), []);
  assert.equal((await failureOf(platform.find('web01'))).code, 'not-found');
});
