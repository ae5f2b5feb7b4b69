import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { runProgram, seededRandom, silentLogger } from '@prima/base';
import { compareDevices, memoryDevice, openRawFile } from '@prima/block';
import { newMapping, openOva } from '@prima/formats';
import type { Point } from '@prima/repository';
import { temporaryFolder } from '@prima/testbed';
import { writeXml } from '@prima/xml';
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

const addresses = {
  qcow2: 'http://www.gnome.org/~markmc/qcow-image-format.html',
  vpc: 'http://go.microsoft.com/fwlink/?LinkId=137171',
};

/** The same package with its disks in another format, and no manifest: an envelope in `folder`. */
async function inFormat(
  from: string,
  folder: string,
  { format, more = [] }: { format: keyof typeof addresses; more?: string[] },
): Promise<Map<string, Buffer>> {
  const members = await membersOf(from);
  await mkdir(folder);
  const [[envelopeName, envelope] = ['', Buffer.alloc(0)]] = members;
  let text = envelope.toString().replaceAll(/ovf:format="[^"]*"/g, `ovf:format="${addresses[format]}"`);
  for (const [name, body] of [...members].slice(1)) {
    if (!name.endsWith('.vmdk')) continue;
    await writeFile(join(folder, 'original'), body);
    const args = [
      'convert',
      '-f',
      'vmdk',
      '-O',
      format,
      ...more,
      join(folder, 'original'),
      join(folder, name),
    ];
    await runProgram('qemu-img', args);
    text = text.replace(`ovf:size="${body.length}"`, `ovf:size="${(await stat(join(folder, name))).size}"`);
    members.set(name, await readFile(join(folder, name)));
  }
  await rm(join(folder, 'original'));
  await writeFile(join(folder, 'a.ovf'), text);
  return new Map([
    [envelopeName, Buffer.from(text)],
    ...[...members].filter(([name]) => name.endsWith('.vmdk')),
  ]);
}

for (const [format, more] of [
  ['qcow2', ['-o', 'cluster_size=4096']],
  ['vpc', ['-o', 'force_size=on']],
] as const) {
  test(`disks of a package may be ${format}, in an archive and beside the envelope`, async (t) => {
    const set = await setUp(t);
    const { at, journal, repository, point } = set;
    await restoreToPackage(repository, point, at('a.ova'), { format: 'ova', journal });
    const members = await inFormat(at('a.ova'), at('folder'), { format, more: [...more] });
    await sameAsPoint(at('folder', 'a.ovf'), set);
    await pack(at('b.ova'), members);
    await sameAsPoint(at('b.ova'), set);
  });
}

test('a disk of a package has no file or device of this computer to choose', async (t) => {
  const { at, journal, repository, point } = await setUp(t);
  await restoreToPackage(repository, point, at('a.ova'), { format: 'ova', journal });
  await writeFile(at('secret.raw'), Buffer.alloc(size, 7));
  const members = await inFormat(at('a.ova'), at('folder'), { format: 'qcow2' });
  const [, first = ''] = members.keys();
  const based = [
    'create',
    '-f',
    'qcow2',
    '-b',
    at('secret.raw'),
    '-F',
    'raw',
    at('folder', first),
    String(size),
  ];
  await runProgram('qemu-img', based);
  const body = await readFile(at('folder', first));
  const before = members.get(first)?.length ?? 0;
  for (const [name, text] of members) {
    if (!name.endsWith('.ovf')) continue;
    members.set(
      name,
      Buffer.from(text.toString().replace(`ovf:size="${before}"`, `ovf:size="${body.length}"`)),
    );
    await writeFile(at('folder', 'a.ovf'), members.get(name) ?? '');
  }
  await assert.rejects(openMachinePackage(at('folder', 'a.ovf')), {
    code: 'refused',
    message: /secret\.raw: only files below/,
  });
  await pack(at('b.ova'), members.set(first, body));
  await assert.rejects(openMachinePackage(at('b.ova')), { code: 'unsupported', message: /another file/ });

  await mkdir(at('vm'));
  const mapping = {
    version: 1,
    device: '/dev/sda',
    size,
    identities: [],
    name: 'm.vmdk',
    mode: 'virtual',
  } as const;
  const made = newMapping(mapping, seededRandom(1));
  await writeFile(at('vm', 'm.vmdk'), made.descriptor);
  await writeFile(at('vm', 'm-rdm.vmdk'), made.mapping);
  await writeFile(at('vm', 'm.vmx'), 'memsize = "64"\nsata0:0.fileName = "m.vmdk"\n');
  await assert.rejects(openMachinePackage(at('vm', 'm.vmx')), {
    code: 'unsupported',
    message: /raw device mapping/,
  });
});
