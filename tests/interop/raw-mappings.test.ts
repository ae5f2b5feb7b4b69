/** Raw device mappings of real block devices (loop devices) and real iSCSI LUNs (tgtd), which move. */
import assert from 'node:assert/strict';
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram, toPrimaError } from '@prima/base';
import { randomFile, startIscsiTarget } from '@prima/testbed';
import { attachLoop, detachLoop, place } from './prima-fixture.ts';

test('an iSCSI LUN is mapped, read, backed up, and found again under another number', async (t) => {
  const { at, run, good } = await place(t);
  const target = await startIscsiTarget(t);
  for (const [lun, id] of [
    [1, 'PRIMALUN1'],
    [2, 'PRIMALUN2'],
  ] as const) {
    await randomFile(at(`${id}.img`), { size: 12 * MiB, seed: lun });
    await target.add(lun, at(`${id}.img`), id);
  }

  const made = await good('disk', 'rdm', 'create', 'lun.vmdk', '--device', target.url(1));
  assert.match(made, /Mode +virtual/);
  assert.match(made, /t10\.PRIMALUN1/);
  await good('disk', 'compare', 'lun.vmdk', 'PRIMALUN1.img');
  await good('disk', 'convert', 'lun.vmdk', 'copy.raw');
  assert.ok((await readFile(at('copy.raw'))).equals(await readFile(at('PRIMALUN1.img'))));
  await good('init');
  await good('backup', 'lun.vmdk');
  await good('restore', 'latest', '--to', 'restored');
  const [image = ''] = (await readdir(at('restored'))).filter((name) => /\.(?:raw|img)$/.test(name));
  assert.ok((await readFile(join(at('restored'), image))).equals(await readFile(at('PRIMALUN1.img'))));

  await t.test('another LUN at its address is not taken for it', async () => {
    await target.remove(1);
    await target.add(1, at('PRIMALUN2.img'), 'PRIMALUN2B');
    const { status, stderr } = await run('disk', 'info', 'lun.vmdk');
    assert.equal(status, 3, stderr);
    assert.match(stderr, /at that address is t10\.PRIMALUN2B/);
    const refused = await run('disk', 'rdm', 'remap', 'lun.vmdk', '--device', target.url(2));
    assert.equal(refused.status, 13, refused.stderr);
    await target.add(3, at('PRIMALUN1.img'), 'PRIMALUN1');
    assert.match(
      await good('disk', 'rdm', 'remap', 'lun.vmdk', '--device', target.url(3)),
      /Is now +iscsi:.*\/3/,
    );
    await good('disk', 'compare', 'lun.vmdk', 'PRIMALUN1.img');
  });

  await t.test('physical mode is refused by what reads files, with what to do', async () => {
    await good('disk', 'rdm', 'create', 'phys.vmdk', '--device', target.url(2), '--mode', 'physical');
    assert.match(await good('disk', 'rdm', 'query', 'phys.vmdk'), /Mode +physical/);
    for (const args of [
      ['backup', 'phys.vmdk'],
      ['disk', 'convert', 'phys.vmdk', 'x.raw'],
    ]) {
      const { status, stderr } = await run(...args);
      assert.equal(status, 23, stderr);
      assert.match(stderr, /physical mode.*prima backup \/dev/s);
    }
  });

  await t.test('a password never goes into a mapping', async () => {
    const url = target.url(2).replace('iscsi://', 'iscsi://user%geheim@');
    const { status, stderr } = await run('disk', 'rdm', 'create', 'secret.vmdk', '--device', url);
    assert.equal(status, 2, stderr);
    assert.doesNotMatch(stderr, /geheim/);
  });
});

test('a block device that has another name now is found by who it is', async (t) => {
  const { at, run, good } = await place(t);
  await writeFile(at('disk.img'), '');
  await truncate(at('disk.img'), 8 * MiB);
  let device: string;
  try {
    device = await attachLoop(t, at('disk.img'));
  } catch (error) {
    t.skip(`no loop device here: ${toPrimaError(error, 'losetup').message}`);
    return;
  }
  await good('disk', 'rdm', 'create', 'loop.vmdk', '--device', device);
  await good('disk', 'compare', 'loop.vmdk', 'disk.img');
  const first = device;
  await detachLoop(first);
  const gone = await run('disk', 'info', 'loop.vmdk');
  assert.equal(gone.status, 3, gone.stderr);
  assert.match(gone.stderr, /not on this computer/);
  // its old name goes to another one
  await writeFile(at('other.img'), Buffer.alloc(8 * MiB, 7));
  await runProgram('losetup', [first, at('other.img')]);
  t.after(() => detachLoop(first));
  device = await attachLoop(t, at('disk.img'));
  assert.notEqual(device, first);
  assert.match(await good('disk', 'info', 'loop.vmdk'), new RegExp(`is ${device} now`));
  await good('disk', 'compare', 'loop.vmdk', 'disk.img');
  const file = await run('disk', 'rdm', 'create', 'file.vmdk', '--device', at('disk.img'));
  assert.equal(file.status, 23, file.stderr);
});
