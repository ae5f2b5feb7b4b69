/** Points of disks that were LUNs, restored: over the LUN, as a mapping of it wherever it is now, as a disk file. */
import assert from 'node:assert/strict';
import { constants } from 'node:fs';
import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { MiB, toPrimaError } from '@prima/base';
import { openVmdk } from '@prima/formats';
import { mappingOpener, openWithQemu } from '@prima/qemu';
import { randomFile, startIscsiTarget } from '@prima/testbed';
import { attachLoop, detachLoop, place } from './prima-fixture.ts';

const size = 12 * MiB;

/** The device, or undefined where there is none here and the test is skipped. */
async function loopOrSkip(t: TestContext, file: string): Promise<string | undefined> {
  try {
    return await attachLoop(t, file);
  } catch (error) {
    t.skip(`no loop device here: ${toPrimaError(error, 'losetup').message}`);
    return undefined;
  }
}

interface ShownDisk {
  lun?: { device: string; identities: string[] };
}

async function pointDisks(good: (...args: string[]) => Promise<string>): Promise<ShownDisk[]> {
  const last = (await good('--json', '--quiet', 'show', 'latest')).trim().split('\n').at(-1) ?? '';
  return (JSON.parse(last) as { result: { disks: ShownDisk[] } }).result.disks;
}

test('a LUN is written over only when it is asked for, it is the one, and of its size', async (t) => {
  const { at, run, good } = await place(t);
  const target = await startIscsiTarget(t);
  for (const [lun, id] of [
    [1, 'PRIMALUN1'],
    [2, 'PRIMALUN2'],
  ] as const) {
    await randomFile(at(`${id}.img`), { size, seed: lun });
    await target.add(lun, at(`${id}.img`), id);
  }
  const before = await readFile(at('PRIMALUN1.img'));
  await good('disk', 'rdm', 'create', 'lun.vmdk', '--device', target.url(1));
  await good('init');
  await good('backup', 'lun.vmdk');
  const content = () => readFile(at('PRIMALUN1.img'));
  const spoil = () => randomFile(at('PRIMALUN1.img'), { size, seed: 9 });

  await t.test('the point says which LUN it was', async () => {
    const [disk] = await pointDisks(good);
    assert.deepEqual(disk?.lun, {
      device: target.url(1),
      identities: ['t10.PRIMALUN1', 'serial.PRIMALUN1'],
    });
    assert.match(await good('show', 'latest'), /t10\.PRIMALUN1/);
  });

  await t.test('over the LUN, zeros too', async () => {
    await spoil();
    const spoiled = await content();
    const unasked = await run('restore', 'latest', '--to-device', target.url(1));
    assert.equal(unasked.status, 13, unasked.stderr);
    assert.match(unasked.stderr, /t10\.PRIMALUN1.*--overwrite-lun/s);
    const other = await run('restore', 'latest', '--to-device', target.url(2), '--overwrite-lun');
    assert.equal(other.status, 13, other.stderr);
    assert.match(other.stderr, /it is t10\.PRIMALUN2.*was t10\.PRIMALUN1/s);
    assert.ok((await content()).equals(spoiled));
    await good('restore', 'latest', '--to-device', target.url(1), '--overwrite-lun');
    assert.ok((await content()).equals(before));
  });

  await t.test('another one takes --force, and one that is smaller not even that', async () => {
    await good('restore', 'latest', '--to-device', target.url(2), '--overwrite-lun', '--force');
    assert.ok((await readFile(at('PRIMALUN2.img'))).equals(before));
    await writeFile(at('small.img'), Buffer.alloc(size - MiB, 5));
    await target.add(3, at('small.img'), 'PRIMALUN3');
    const small = await run('restore', 'latest', '--to-device', target.url(3), '--overwrite-lun', '--force');
    assert.equal(small.status, 13, small.stderr);
    assert.ok((await readFile(at('small.img'))).equals(Buffer.alloc(size - MiB, 5)));
  });

  await t.test('as a mapping of the LUN, which has another number', async () => {
    await target.remove(1);
    await target.add(5, at('PRIMALUN1.img'), 'PRIMALUN1');
    const lost = await run('restore', 'latest', '--to', 'lost', '--map-luns');
    assert.equal(lost.status, 3, lost.stderr);
    assert.match(lost.stderr, /t10\.PRIMALUN1.*--lun/s);
    const where = ['--map-luns', '--lun', target.url(2), '--lun', target.url(5)];
    await spoil();
    const { status, stderr } = await run('restore', 'latest', '--to', 'mapped', ...where);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /stands for iscsi:.*\/5 \(it was iscsi:.*\/1\), on which nothing was changed/);
    await good('disk', 'compare', 'mapped/lun-disk0.vmdk', 'PRIMALUN1.img');
    assert.ok(!(await content()).equals(before));
    await good('restore', 'latest', '--to', 'filled', ...where, '--overwrite-lun');
    assert.ok((await content()).equals(before));
    assert.match(await good('disk', 'rdm', 'query', 'filled/lun-disk0.vmdk'), /Is now +iscsi:.*\/5/);
  });

  await t.test('one that has grown is mapped no more', async () => {
    await target.remove(5);
    await truncate(at('PRIMALUN1.img'), size + MiB);
    await target.add(5, at('PRIMALUN1.img'), 'PRIMALUN1');
    for (const how of [
      ['--to', 'grown', '--map-luns', '--lun', target.url(5)],
      ['--to-device', target.url(5), '--overwrite-lun'],
    ]) {
      const { status, stderr } = await run('restore', 'latest', ...how);
      assert.equal(status, 13, stderr);
      assert.match(stderr, new RegExp(`has ${size + MiB} bytes`));
    }
  });

  await t.test('as a disk file, unless something else is said', async () => {
    const { status, stderr } = await run('restore', 'latest', '--to', 'file');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /disk0 was a device \(iscsi:.*t10\.PRIMALUN1.*is a disk file now/);
    assert.ok((await readFile(at('file/lun-disk0.raw'))).equals(before));
  });
});

test('a machine with a mapped device comes back with the mapping, under the name that the device has now', async (t) => {
  const { at, run, good } = await place(t);
  await randomFile(at('lun.img'), { size, seed: 3 });
  const before = await readFile(at('lun.img'));
  const device = await loopOrSkip(t, at('lun.img'));
  if (device === undefined) return;
  await mkdir(at('lab/web'), { recursive: true });
  await good('disk', 'create', 'lab/web/system.raw', '--size', '4MiB');
  await good('disk', 'rdm', 'create', 'lab/web/data.vmdk', '--device', device);
  await good('disk', 'rdm', 'create', 'lab/web/tape.vmdk', '--device', device, '--mode', 'physical');
  const disks = ['system.raw', 'data.vmdk', 'tape.vmdk'].flatMap((file, unit) => [
    `scsi0:${unit}.present = "TRUE"`,
    `scsi0:${unit}.fileName = "${file}"`,
  ]);
  const vmx = [
    'displayName = "web"',
    'uuid.bios = "56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e"',
    ...disks,
  ];
  await writeFile(at('lab/web/web.vmx'), `${vmx.join('\n')}\n`);
  await good('host', 'add', 'lab', at('lab'));
  await good('init');
  const backedUp = await run('backup', 'lab/web');
  assert.equal(backedUp.status, 0, backedUp.stderr);
  assert.match(backedUp.stderr, /disk1 is a raw device mapping: read from \/dev\/loop/);
  assert.match(backedUp.stderr, /disk2 is not in this point: .*physical mode.*prima backup \/dev/);
  assert.deepEqual(
    (await pointDisks(good)).map(({ lun }) => lun?.device),
    [undefined, device],
  );

  await detachLoop(device);
  await randomFile(at('other.img'), { size, seed: 4 });
  const blocker = await attachLoop(t, at('other.img')); // it has the old name now
  const now = await attachLoop(t, at('lun.img'));
  await randomFile(at('lun.img'), { size, seed: 5 });
  const how = ['--to-host', 'lab', '--map-luns', '--overwrite-lun'];
  await t.test('not while somebody has the device', async () => {
    await using _mount = await open(now, constants.O_RDWR | constants.O_EXCL); // what a mount does
    const { status, stderr } = await run('restore', 'latest', ...how, '--as', 'busy');
    assert.equal(status, 5, stderr);
    assert.match(stderr, /mounted/);
    assert.doesNotMatch(await good('machine', 'list', 'lab'), /busy/);
  });
  await good('restore', 'latest', ...how, '--as', 'copy');
  assert.ok((await readFile(at('lun.img'))).equals(before));
  assert.ok((await readFile(at('other.img'))).equals(await readFile(blocker)));
  await good('disk', 'compare', 'lab/copy/data.vmdk', 'lun.img');
  assert.match(await good('disk', 'rdm', 'query', 'lab/copy/data.vmdk'), new RegExp(`Device +${now}`));
  const copied = await run('backup', 'lab/copy');
  assert.equal(copied.status, 0, copied.stderr);
  assert.match(copied.stderr, new RegExp(`read from ${now}`));

  await t.test('redo logs of the machine leave the mapping out', async () => {
    assert.match(
      await good('disk', 'redo', 'add', 'lab/copy'),
      /disk1 is left out: it is a raw device mapping/,
    );
    const named = await run('disk', 'redo', 'add', 'lab/copy', '--disk', 'disk1');
    assert.equal(named.status, 23, named.stderr);
  });
});

test('a block device that was backed up by itself is known again, and written over', async (t) => {
  const { at, run, good } = await place(t);
  await randomFile(at('lun.img'), { size, seed: 7 });
  const before = await readFile(at('lun.img'));
  const device = await loopOrSkip(t, at('lun.img'));
  if (device === undefined) return;
  await good('init');
  await good('backup', device);
  const [disk] = await pointDisks(good);
  assert.equal(disk?.lun?.device, device);
  assert.match(disk.lun.identities.join(), /^file\..*lun\.img$/);
  await randomFile(at('lun.img'), { size, seed: 8 });
  await randomFile(at('other.img'), { size, seed: 9 });
  const other = await attachLoop(t, at('other.img'));
  const wrong = await run('restore', 'latest', '--to-device', other, '--overwrite-lun');
  assert.equal(wrong.status, 13, wrong.stderr);
  const used = await openWithQemu(device, { format: 'raw', writable: true });
  const busy = await run('restore', 'latest', '--to-device', device, '--overwrite-lun');
  await used.close();
  assert.equal(busy.status, 5, busy.stderr);
  assert.match(busy.stderr, /a QEMU on this computer has it open; nothing was written/);
  await good('restore', 'latest', '--to-device', device, '--overwrite-lun');
  assert.ok((await readFile(device)).equals(before));
});

test('redo logs over a mapping take its writes, and go into the device or away', async (t) => {
  const { at, run, good } = await place(t);
  await randomFile(at('lun.img'), { size, seed: 6 });
  const before = await readFile(at('lun.img'));
  const device = await loopOrSkip(t, at('lun.img'));
  if (device === undefined) return;
  await good('disk', 'rdm', 'create', 'lun.vmdk', '--device', device);
  const write = async (byte: number) => {
    const { device: disk } = await openVmdk(at('lun.vmdk.REDO'), {
      writable: true,
      openMapping: mappingOpener(),
    });
    await disk.write(5 * MiB + 512, Buffer.alloc(4096, byte));
    await disk.flush();
    await disk.close();
  };
  await good('disk', 'redo', 'add', 'lun.vmdk');
  await write(1);
  assert.ok((await readFile(at('lun.img'))).equals(before));
  await good('disk', 'redo', 'discard', 'lun.vmdk', '--yes');
  await good('disk', 'redo', 'add', 'lun.vmdk');
  await write(2);
  await good('disk', 'redo', 'commit', 'lun.vmdk');
  const after = Buffer.from(before);
  after.fill(2, 5 * MiB + 512, 5 * MiB + 512 + 4096);
  assert.ok((await readFile(device)).equals(after));
  await good('disk', 'info', 'lun.vmdk');

  await good('disk', 'rdm', 'create', 'phys.vmdk', '--device', device, '--mode', 'physical');
  const refused = await run('disk', 'redo', 'add', 'phys.vmdk');
  assert.equal(refused.status, 23, refused.stderr);
  assert.match(refused.stderr, /physical mode/);
});
