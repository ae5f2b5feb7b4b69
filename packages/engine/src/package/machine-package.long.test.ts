import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { runProgram, silentLogger } from '@prima/base';
import { compareDevices, memoryDevice, openRawFile } from '@prima/block';
import { openOva, writeXml } from '@prima/formats';
import type { Point } from '@prima/repository';
import { temporaryFolder } from '@prima/testbed';
import { backup } from '../backup/backup.ts';
import { fakeRepository } from '../fake-repository-fixture.ts';
import { Journal } from '../journal.ts';
import { restoreToPackage } from '../restore/to-package.ts';
import { openMachinePackage } from './machine-package.ts';

const size = 256 * 1024;

const vmx = [
  'displayName = "web 01"',
  'memsize = "512"',
  'scsi0.virtualDev = "virtio-blk"',
  'scsi0:0.fileName = "a.qcow2"',
  'scsi1.virtualDev = "pvscsi"',
  'scsi1:2.fileName = "b.raw"',
  'sata0:3.fileName = "excluded.raw"',
  'ide0:0.fileName = "cd.iso"',
  'ide0:0.deviceType = "cdrom-image"',
].join('\n');

async function setUp(t: TestContext, configuration: string | undefined = vmx) {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const journal = new Journal(at('journal'), {
    logger: silentLogger,
    recoverHost: async () => [],
    removePrivateHost: async () => [],
  });
  const repository = fakeRepository();
  const disk = async (name: string, slot: string, text: string) => {
    const device = memoryDevice(size);
    await device.write(65536, Buffer.from(text));
    return { disk: { name, slot, path: name, format: 'raw', size }, device };
  };
  const { point } = await backup(repository, {
    machine: { id: 'uuid-1', name: 'web 01' },
    open: async () => ({
      mode: 'cold',
      quiesced: false,
      why: [],
      pointInTime: Date.now(),
      disks: [await disk('disk0', 'scsi0:0', 'system'), await disk('disk1', 'scsi1:2', 'data')],
      skipped: [],
      files: configuration === '' ? [] : [{ name: 'web.vmx', bytes: Buffer.from(configuration) }],
      succeed: async () => undefined,
      close: async () => undefined,
    }),
  });
  return { at, journal, repository, point };
}

async function sameAsPoint(
  path: string,
  { repository, point }: { repository: ReturnType<typeof fakeRepository>; point: Point },
): Promise<void> {
  const opened = await openMachinePackage(path);
  try {
    for (const [at, disk] of opened.disks.entries()) {
      const original = await repository.openDisk(point, point.disks[at]?.name ?? '');
      assert.deepEqual((await compareDevices(disk.device, original)).differences, []);
    }
    await opened.verifyUnchanged();
  } finally {
    await opened.close();
  }
}

for (const format of ['ova', 'ovf'] as const) {
  test(`a point as ${format} is opened with the same disks, and what it lacks was said`, async (t) => {
    const set = await setUp(t);
    const { at, journal, repository, point } = set;
    const path = at('out', `x.${format}`);
    const made = await restoreToPackage(repository, point, path, { format, journal });
    assert.deepEqual(made.damaged, []);
    const lost = new Map(made.notCarried.map(({ where, why }) => [where, why]));
    assert.equal(lost.get('sata0:3'), 'it is not in the point');
    assert.match(lost.get('ide0:0') ?? '', /CD-ROM drive/);
    const opened = await openMachinePackage(path);
    const { description, disks, notes } = opened;
    await opened.close();
    assert.deepEqual(notes, []);
    assert.equal(description.name, 'web 01');
    assert.deepEqual(
      disks.map(({ slot, format: own, device }) => [slot, own, device.size]),
      [
        ['virtio0:0', 'vmdk', size],
        ['scsi1:2', 'vmdk', size],
      ],
    );
    await sameAsPoint(path, set);
    const again = restoreToPackage(repository, point, path, { format, journal });
    await assert.rejects(again, { code: 'exists' });
    await restoreToPackage(repository, point, path, { format, journal, force: true });
    assert.deepEqual(await readdir(at('journal')), []);
  });
}

test('a bare disk gets the least hardware, and that is said', async (t) => {
  const set = await setUp(t, '');
  const { at, journal, repository, point } = set;
  const made = await restoreToPackage(repository, point, at('b.ova'), { format: 'ova', journal });
  assert.match(made.notCarried.map(({ why }) => why).join('\n'), /bare disk/);
  const opened = await openMachinePackage(at('b.ova'));
  assert.deepEqual(
    opened.disks.map(({ slot }) => slot),
    ['sata0:0', 'sata0:1'],
  );
  await opened.close();
});

test('cancelled half-way, nothing is left', async (t) => {
  const { at, journal, repository, point } = await setUp(t);
  const stopper = new AbortController();
  const work = restoreToPackage(repository, point, at('out', 'c.ova'), {
    format: 'ova',
    journal,
    signal: stopper.signal,
    onProgress: () => stopper.abort(),
  });
  await assert.rejects(work, { code: 'cancelled' });
  assert.deepEqual(await readdir(at('journal')), []);
  await assert.rejects(readdir(at('out')), { code: 'ENOENT' });
});

/** The members of an OVA, to be packed again in another way. */
async function membersOf(path: string): Promise<Map<string, Buffer>> {
  const bytes = await readFile(path);
  const ova = await openOva(Readable.from([bytes]));
  const found = new Map([[ova.name, Buffer.from(writeXml(ova.document))]]);
  for await (const { name, body } of ova.files()) {
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(Buffer.from(piece));
    found.set(name, Buffer.concat(pieces));
  }
  return found;
}

/** As GNU tar does it. */
async function pack(path: string, members: ReadonlyMap<string, Buffer>): Promise<void> {
  const folder = `${path}.members`;
  await mkdir(folder, { recursive: true });
  for (const [name, body] of members) await writeFile(join(folder, name), body);
  await runProgram('tar', ['-cf', path, '-C', folder, ...members.keys()]);
}

test('packages that are not whole are refused, and say why', async (t) => {
  const { at, journal, repository, point } = await setUp(t);
  await restoreToPackage(repository, point, at('a.ova'), { format: 'ova', journal });
  const members = await membersOf(at('a.ova'));
  const [envelopeName = '', firstDisk = '', secondDisk = ''] = members.keys();
  const envelope = members.get(envelopeName)?.toString() ?? '';
  const refused = async (
    changes: Record<string, string | Buffer | undefined>,
    code: string,
    message: RegExp,
  ) => {
    const changed = new Map(members);
    for (const [name, body] of Object.entries(changes)) {
      if (body === undefined) changed.delete(name);
      else changed.set(name, Buffer.from(body));
    }
    await pack(at('b.ova'), changed);
    await assert.rejects(openMachinePackage(at('b.ova')), { code, message });
  };
  await pack(at('plain.ova'), members);
  const opened = await openMachinePackage(at('plain.ova'));
  assert.match(opened.notes.join('\n'), /has no manifest/);
  await opened.close();
  await refused({ [firstDisk]: undefined }, 'format', /disk1\.vmdk", which is not there/);
  await refused({ [secondDisk]: Buffer.alloc(100) }, 'format', /has 100 bytes, the envelope says/);
  const said = (from: string, to: string) => {
    assert.ok(envelope.includes(from), envelope);
    return { [envelopeName]: envelope.replace(from, to) };
  };
  await refused(said('<File ', '<File ovf:compression="gzip" '), 'unsupported', /compressed \(gzip\)/);
  await refused(said('<File ', '<File ovf:chunkSize="7" '), 'unsupported', /in pieces/);
  const href = encodeURIComponent(firstDisk);
  await refused(said(`ovf:href="${href}"`, 'ovf:href="../../etc/shadow"'), 'refused', /only files beside/);
  await refused(said(`ovf:href="${href}"`, 'ovf:href="http://h/x"'), 'refused', /only files beside/);
  const damaged = Buffer.from(members.get(firstDisk) ?? '');
  damaged.write('XXXX', 0);
  await refused({ [firstDisk]: damaged }, 'format', /is no VMDK/);
});

test('a file that changes while it is read makes nothing', async (t) => {
  const { at, journal, repository, point } = await setUp(t);
  await restoreToPackage(repository, point, at('a.ovf'), { format: 'ovf', journal });
  const opened = await openMachinePackage(at('a.ovf'));
  const { atime, mtimeMs } = await stat(at('a-disk2.vmdk'));
  await utimes(at('a-disk2.vmdk'), atime, new Date(mtimeMs + 1000));
  await assert.rejects(opened.verifyUnchanged(), { code: 'source-changed', message: /a-disk2\.vmdk/ });
  await opened.close();
});

test('a .vmx with its disks is a package, too; disks elsewhere are not opened', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'vm'));
  for (const name of ['vm/a.raw', 'b.raw']) {
    const device = await openRawFile(join(folder, name), { create: { size } });
    await device.close();
  }
  const path = join(folder, 'vm', 'm.vmx');
  await writeFile(path, 'memsize = "64"\nsata0:0.fileName = "a.raw"\n');
  const opened = await openMachinePackage(path);
  assert.deepEqual(
    opened.disks.map(({ slot, format, device }) => [slot, format, device.size]),
    [['sata0:0', 'raw', size]],
  );
  await opened.close();
  await writeFile(path, 'memsize = "64"\nsata0:0.fileName = "../b.raw"\n');
  await assert.rejects(openMachinePackage(path), { code: 'refused', message: /only files below/ });
  await rm(join(folder, 'b.raw'));
  await assert.rejects(openMachinePackage(path), { code: 'not-found' });
});
