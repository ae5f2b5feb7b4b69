/**
 * Everything that reads bytes from outside, in one table. A target makes an input from random numbers, so that seed and round give
 * it again, and reads it: what it raises besides errors of ours is a fault, as is too much memory or time.
 */
import assert from 'node:assert/strict';
import type { Random } from '@prima/base';
import { type BlockDevice, memoryDevice } from '@prima/block';
import {
  checkVmdk,
  type ConfigurationDialect,
  configurationDialects,
  createVmdk,
  detectFormat,
  memoryFolder,
  openOva,
  openVmdk,
  openVmdkStream,
  parseCowdHeader,
  parseDescriptor,
  parseHostedHeader,
  parseManifest,
  parseQcow2Header,
  parseVmx,
  readConfiguration,
  readGrains,
  readPartitions,
  vmxSettings,
  writeConfiguration,
  writeDescriptor,
  writeManifest,
  writeVmx,
} from '@prima/formats';
import { mutate } from '@prima/testbed';
import { parseXml, writeXml } from '@prima/xml';
import { randomDescription } from '../../packages/formats/src/machine/description-fixture.ts';
import { ovirt, virtualBox, vmware } from '../../packages/formats/src/ovf/ovf-fixture.ts';
import { writeTar } from '../../packages/formats/src/ovf/tar-writer.ts';
import { gptDisk } from '../../packages/formats/src/partitions/tables-fixture.ts';
import { type SeGrain, seSparseFile } from '../../packages/formats/src/vmdk/se-sparse-fixture.ts';
import {
  fixtureForms,
  grainSectors,
  makeStream,
  noise,
} from '../../packages/formats/src/vmdk/stream-fixture.ts';
import { guestSpaceTargets } from './guest-space-targets.ts';
import { libvirtTargets } from './libvirt-targets.ts';
import { recordTargets } from './record-targets.ts';

export interface FuzzTarget {
  input(random: Random): Buffer;
  read(input: Buffer, random: Random): void | Promise<void>;
}

type Reader = FuzzTarget['read'];

/** Each by name; made when it is needed. `random` is for what the originals are made of. */
export const fuzzTargets: Readonly<Record<string, (random: Random) => FuzzTarget | Promise<FuzzTarget>>> = {
  vmx: (random) => changed(written('vmx', random), readVmx),
  xml: (random) => changed([...written('libvirt', random), ...xmlOddities], readXml),
  libvirt: (random) => changed(written('libvirt', random), readAnyConfiguration),
  ovf: (random) => changed([vmware, virtualBox, ovirt, ...written('ovf', random)], readAnyConfiguration),
  'qemu-arguments': (random) => changed([...written('qemu', random), ...commandLines], readAnyConfiguration),
  configuration: (random) =>
    changed(
      configurationDialects.flatMap((dialect) => written(dialect, random)),
      readAnyConfiguration,
    ),
  manifest: () => changed(manifests, (input) => void parseManifest(writeManifest(parseManifest(input)))),
  ova: async () => changed([await archive()], readArchive),
  'disk-format': () => changed(magics, readFormat),
  'qcow2-header': () => changed([qcow2Header()], (input) => void parseQcow2Header(input)),
  partitions: async () => changed([await start(await gptDisk(), 20_000)], readTables),
  'vmdk-descriptor': async () => changed(await vmdkFiles(true), readDescriptor),
  'vmdk-headers': async () => changed(await vmdkFiles(false), readHeaders),
  'vmdk-disk': async () => changed([...(await vmdkFiles(false)), ...(await vmdkFiles(true))], readDisk),
  'vmdk-sesparse': () => patched(seSparse(), readDisk),
  'vmdk-check': async () => changed([...(await vmdkFiles(false)), ...streams()], checkDisk),
  'vmdk-check-sesparse': () => patched(seSparse(), checkDisk),
  'vmdk-stream': () => changed(streams(), readStream),
  ...guestSpaceTargets,
  ...libvirtTargets,
  ...recordTargets,
};

/** Inputs that are nearly one of `originals`. */
function changed(originals: readonly (string | Buffer)[], read: Reader): FuzzTarget {
  const all = originals.map((original) => Buffer.from(original));
  return {
    input: (random) => mutate(random, all[random.below(all.length)] ?? Buffer.alloc(0), all),
    read,
  };
}

const sectorBytes = 512;

/** For large originals: the input is a place where they hold something, 8 bytes, and what stands there instead. */
function patched(original: Buffer, read: Reader): FuzzTarget {
  const places: number[] = [];
  for (let at = 0; at < original.length; at += sectorBytes)
    if (original.subarray(at, at + sectorBytes).some((byte) => byte !== 0)) places.push(at);
  return {
    input: (random) => {
      const at = places[random.below(places.length)] ?? 0;
      const head = Buffer.alloc(8);
      head.writeBigUInt64LE(BigInt(at));
      return Buffer.concat([head, mutate(random, original.subarray(at, at + sectorBytes))]);
    },
    read: (input, random) => {
      const bytes = Buffer.from(original);
      input.copy(bytes, Number(input.readBigUInt64LE(0)), 8, 8 + sectorBytes);
      return read(bytes, random);
    },
  };
}

function written(dialect: ConfigurationDialect, random: Random): string[] {
  return Array.from(
    { length: 12 },
    () => writeConfiguration(randomDescription(random), dialect, { folder: '/m' }).result,
  );
}

const xmlOddities = [
  '<?xml version="1.0"?><a:b xmlns:a="urn:x" c="d&lt;"><!-- e --><f/>g<![CDATA[h]]><?i j?></a:b>',
  '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;&#x41;</a>',
];

const commandLines = [
  `-blockdev '{"driver":"raw","node-name":"d","file":{"driver":"file","filename":"x"}}' -device ide-hd,drive=d`,
  '-hda x -cdrom y -net nic -net user -nic tap,model=e1000 -serial file:z -vnc :1 -smp 4,sockets=2 -boot dc',
  '-blockdev raw,node-name=a,file=b -blockdev raw,node-name=b,file=a -device scsi-hd,drive=a',
];

const digest = 'ab'.repeat(32);
const manifests = [
  `SHA256(a.ovf)= ${digest}\nSHA1 (b c) = ${'0'.repeat(40)}\n`,
  `SHA512(x)=${digest}${digest}\r\n`,
];

const readVmx: Reader = (input) => {
  const vmx = parseVmx(input);
  assert.equal(writeVmx(parseVmx(writeVmx(vmx))), writeVmx(vmx));
  vmxSettings(vmx);
  readAnyConfiguration(input);
};

const readXml: Reader = (input) => {
  const text = writeXml(parseXml(input, 'x'));
  assert.equal(writeXml(parseXml(text, 'x')), text);
};

/** What is read is written in every dialect. */
function readAnyConfiguration(input: Buffer): void {
  const { result } = readConfiguration(input, 'x');
  for (const dialect of configurationDialects) writeConfiguration(result, dialect, { folder: '/m' });
}

async function archive(): Promise<Buffer> {
  const members = [
    { name: 'a.ovf', body: Buffer.from(vmware) },
    { name: 'a.mf', body: Buffer.from(manifests[0] ?? '') },
    { name: `${'ü'.repeat(60)}.vmdk`, body: Buffer.alloc(700, 1) },
  ];
  const tar = writeTar(members.map(({ name, body }) => ({ name, size: body.length, body: [body] })));
  const pieces: Uint8Array[] = [];
  for await (const piece of tar) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

const readArchive: Reader = async (input, random) => {
  const ova = await openOva(inPieces(input, 1 + random.below(3000)));
  let end = 0;
  for await (const { offset, size, body } of ova.files()) {
    let length = 0;
    for await (const piece of body) length += piece.length;
    assert.equal(length, size);
    assert.ok(offset >= end && offset + size <= input.length, `${offset}+${size}`);
    end = offset + size;
  }
  ova.findings();
};

const magics = [
  'QFI\xfb\0\0\0\x03',
  'KDMV\x01',
  'COWD',
  '# Disk DescriptorFile',
  'vhdxfile',
  'conectix',
  'LUKS\xba\xbe',
].map((magic) => Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.alloc(600)]));
const names = ['a.raw', 'a-flat.vmdk', 'a.qcow2', 'a.vmdk', 'a.vhdx', 'a.vhd', 'a.vdi', 'a', ''];

const readFormat: Reader = async (input, random) => {
  const name = names[random.below(names.length)] ?? '';
  const format = await detectFormat(await deviceOf(input), name);
  if (/\.raw$|-flat\.vmdk$/.test(name)) assert.equal(format, 'raw');
};

function qcow2Header(): Buffer {
  const header = Buffer.alloc(512);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(112n, 8);
  header.writeUInt32BE(8, 16);
  header.writeUInt32BE(16, 20);
  header.writeBigUInt64BE(1n << 30n, 24);
  header.writeUInt32BE(104, 100);
  header.write('base.raw', 112, 'latin1');
  return header;
}

async function deviceOf(bytes: Uint8Array): Promise<BlockDevice> {
  const device = memoryDevice(Math.max(512, Math.ceil(bytes.length / 512) * 512));
  await device.write(0, bytes);
  return device;
}

async function start(device: BlockDevice, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await device.read(0, bytes);
  return bytes;
}

const readTables: Reader = async (input) => {
  const device = await deviceOf(input);
  const table = await readPartitions(device);
  if (!table.intact) return;
  for (const { offset, length } of table.partitions) assert.ok(offset >= 0 && offset + length <= device.size);
};

const kinds = ['monolithicSparse', 'twoGbMaxExtentSparse', 'vmfsSparse', 'monolithicFlat'] as const;

/** Of small disks of every kind: their descriptors, or their extents with something in them. */
async function vmdkFiles(descriptors: boolean): Promise<Buffer[]> {
  const found: Buffer[] = [];
  for (const createType of kinds) {
    const folder = memoryFolder();
    const size = 4 * 1024 * 1024;
    const options = createType === 'vmfsSparse' ? { parent: '/base.vmdk' } : { size };
    if (createType === 'vmfsSparse') await createVmdk('/base.vmdk', { createType: 'vmfs', size, folder });
    const { path } = await createVmdk('/d.vmdk', { createType, folder, ...options });
    const { device } = await openVmdk(path, { folder, writable: true });
    await device.write(65_536, Buffer.alloc(4096, 7));
    await device.close();
    for (const [name, file] of folder.files) {
      const bytes = Buffer.alloc(Math.min(file.size, 1024 * 1024));
      await file.read(0, bytes);
      const isText = bytes.toString('latin1', 0, 6) === '# Disk';
      if (isText === descriptors && !name.endsWith('-flat.vmdk')) found.push(bytes);
    }
  }
  assert.ok(found.length > 1, 'there are files to change');
  return found;
}

function seSparse(): Buffer {
  return seSparseFile(
    8192,
    new Map<number, SeGrain>([
      [0, Buffer.alloc(4096, 1)],
      [3, 2],
      [5, Buffer.alloc(4096, 2)],
    ]),
  );
}

function streams(): Buffer[] {
  const grains = [0, 1, 5, 8, 9].map((number) => ({ number, plain: noise(number) }));
  return fixtureForms.map((form) => makeStream({ form, capacity: 10 * grainSectors, grains }));
}

const readDescriptor: Reader = (input) => {
  const text = writeDescriptor(parseDescriptor(input));
  assert.deepEqual(writeDescriptor(parseDescriptor(text)), text);
};

const readHeaders: Reader = (input) => {
  const head = input.subarray(0, 2048);
  if (head.toString('latin1', 0, 4) === 'COWD') parseCowdHeader(head, 'x');
  else parseHostedHeader(head.subarray(0, 512), 'x');
};

/** A folder with the input as a disk, and two files that a descriptor may name. */
async function folderWith(input: Buffer) {
  const folder = memoryFolder();
  for (const name of ['d.vmdk', 'd-s001.vmdk', 'base.vmdk', 'base-flat.vmdk']) {
    const file = await folder.create(name, '/x', 0);
    await file.write(0, name === 'd.vmdk' ? input : Buffer.alloc(65_536));
  }
  return folder;
}

const readDisk: Reader = async (input, random) => {
  const { device } = await openVmdk('/d.vmdk', { folder: await folderWith(input) });
  let end = 0;
  for await (const { offset, length } of device.extents({ offset: 0, length: device.size })) {
    assert.equal(offset, end);
    end = offset + length;
    if (offset > 64 * 1024 * 1024) break;
  }
  const bytes = Buffer.alloc(Math.min(device.size, 65_536));
  await device.read(0, bytes);
  await device.read(device.size - bytes.length, bytes);
  const sectors = (device.size - bytes.length) / 512;
  await device.read(Math.floor((random.uint32() / 2 ** 32) * sectors) * 512, bytes);
  await device.close();
};

const checkDisk: Reader = async (input, random) => {
  const folder = await folderWith(input);
  await checkVmdk('/d.vmdk', { folder, repair: random.below(2) === 0 });
};

const readStream: Reader = async (input, random) => {
  const stream = await openVmdkStream(inPieces(input, 1 + random.below(3000)), { name: 'x.vmdk' });
  let end = 0;
  for await (const { offset, bytes } of readGrains(stream, { workers: 0 })) {
    assert.ok(offset >= end && offset % stream.grainBytes === 0);
    end = offset + bytes.length;
  }
  assert.ok(end <= stream.size);
};
