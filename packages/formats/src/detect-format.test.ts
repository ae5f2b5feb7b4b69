import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { detectFormat, explainFormat } from './detect-format.ts';

const magics: [string, number, string][] = [
  ['qcow2', 0, 'QFI\xfb\0\0\0\x03'],
  ['vmdk', 0, 'KDMV'],
  ['vmdk', 0, 'COWD'],
  ['vmdk', 0, '\xbe\xba\xfe\xca\0\0\0\0'],
  ['vmdk', 0, '# Disk DescriptorFile\n'],
  ['vhdx', 0, 'vhdxfile'],
  ['vpc', 0, 'conectix'],
  ['vdi', 64, '\x7f\x10\xda\xbe'],
];
const endings: Record<string, string> = { vpc: 'vhd' };

async function deviceWith(offset: number, text: string) {
  const device = memoryDevice(4096);
  await device.write(offset, Buffer.from(text, 'latin1'));
  return device;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, String(error));
  return error.code;
}

for (const [format, offset, magic] of magics) {
  test(`${format} by name and magic ${JSON.stringify(magic)}`, async () => {
    const device = await deviceWith(offset, magic);
    assert.equal(await detectFormat(device, `a.${endings[format] ?? format}`), format);
    assert.equal(await detectFormat(device, 'a.img'), 'raw');
    assert.match((await explainFormat(device, 'a.raw')).reason, new RegExp(`named a.raw, though.*${format}`));
    assert.equal(await codeOf(detectFormat(device)), 'ambiguous');
    assert.equal(await codeOf(detectFormat(device, format === 'vhdx' ? 'a.vdi' : 'a.vhdx')), 'format');
  });
}

test('without any magic', async () => {
  const device = memoryDevice(4096);
  assert.equal(await detectFormat(device), 'raw');
  assert.equal(await detectFormat(device, 'machine7'), 'raw');
  assert.equal(await codeOf(detectFormat(device, 'a.qcow2')), 'format');
  assert.equal(await detectFormat(device, 'web-flat.vmdk'), 'raw');
});

test('redo logs of ESX are VMDKs, whatever the disk is called', async () => {
  const log = await deviceWith(0, 'COWD');
  for (const name of ['web.dsk.REDO', 'web.vmdk.REDO.REDO', 'web.vmdk.REDO_Ab12Cd', 'web.redo'])
    assert.equal(await detectFormat(log, name), 'vmdk');
  assert.equal(await codeOf(detectFormat(memoryDevice(4096), 'web.dsk.REDO')), 'format');
});

test('a fixed VHD has its footer at the end and is one only by name', async () => {
  const device = await deviceWith(4096 - 512, 'conectix');
  assert.equal(await detectFormat(device, 'a.vhd'), 'vpc');
  assert.equal(await detectFormat(device, 'a'), 'raw');
});

test('formats that are known but not read', async () => {
  assert.equal(
    await codeOf(detectFormat(await deviceWith(0, 'QFI\xfb\0\0\0\x01'), 'a.qcow2')),
    'unsupported',
  );
  assert.equal(await codeOf(detectFormat(await deviceWith(0, 'QED\0'), 'a.vmdk')), 'unsupported');
});

test('files', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-formats-'));
  try {
    await writeFile(join(folder, 'short.vmdk'), '# Disk DescriptorFile');
    assert.equal(await detectFormat(join(folder, 'short.vmdk')), 'vmdk');
    await writeFile(join(folder, 'empty'), '');
    assert.equal(await detectFormat(join(folder, 'empty')), 'raw');
    assert.equal(await codeOf(detectFormat(join(folder, 'none'))), 'not-found');
    assert.equal(await codeOf(detectFormat(folder)), 'unsupported');
  } finally {
    await rm(folder, { recursive: true });
  }
});
