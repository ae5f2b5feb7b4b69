/** `bin/vmkfstools` on real files, as a script of an ESX administrator would call it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import { projectRoot } from '@prima/testbed';
import { DiskFolder } from './disk-fixture.ts';

test('create, clone, extend, rename, ask, delete; and a refusal that says what to use', async () => {
  await using at = await DiskFolder.make();
  const vmkfstools = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(projectRoot, 'bin/vmkfstools'), args, {
      cwd: at.path,
      env: { ...process.env, PRIMA_HOME: at.at('.home') },
      encoding: 'utf8',
    });
    return { status, said: `${stdout}${stderr}` };
  };
  const does = (...args: string[]) => {
    const { status, said } = vmkfstools(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${said}`);
    return said;
  };
  does('-c', '20m', '-d', 'thin', '-a', 'buslogic', 'a.vmdk');
  await runProgram('qemu-io', ['-f', 'vmdk', '-c', 'write -P 5 1M 1M', at.at('a.vmdk')]);
  does('-i', 'a.vmdk', '-d', '2gbsparse', 'b.vmdk');
  await runProgram('qemu-img', ['compare', at.at('a.vmdk'), at.at('b.vmdk')]);
  assert.equal(does('-e', 'b.vmdk'), 'Disk chain is consistent.\n');
  assert.match(vmkfstools('-q', 'b.vmdk').said, /b\.vmdk is not an rdm/);
  does('-X', '30m', 'a.vmdk');
  does('-E', 'a.vmdk', 'c.vmdk');
  const { stdout } = await runProgram('qemu-img', ['info', at.at('c.vmdk')]);
  assert.match(stdout, /virtual size: 30 MiB/);
  does('-U', 'c.vmdk');
  assert.deepEqual((await readdir(at.path)).sort(), ['.home', 'b-s001.vmdk', 'b.vmdk']);
  const refused = vmkfstools('-C', 'vmfs6', 'x');
  assert.equal(refused.status, 23);
  assert.match(refused.said, /^vmkfstools -C: VMFS volumes are made and changed on an ESXi host/);
});
