import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, PrimaError, seededRandom } from '@prima/base';
import { parseVmxUuid, vmxSettings, writeVmxUuid } from './settings.ts';
import { parseVmx, Vmx, writeVmx } from './vmx.ts';

const example = `#!/usr/bin/vmware
.encoding = "UTF-8"
config.version = "8"
displayName = "web |22one|22 |7C ü"
memsize = "2048"   # MiB
numVCPUs = 2
guestOS = "debian12-64"

uuid.bios = "56 4d 1a 2b 3c 4d 5e 6f-70 81 92 a3 b4 c5 d6 e7"
scsi0.virtualDev = "pvscsi"
scsi0:10.fileName = "data.vmdk"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "web.vmdk"
scsi0:0.mode = "independent-persistent"
ide1:0.fileName = "/iso/debian.iso"
ide1:0.deviceType = "cdrom-image"
ide1:0.present = "FALSE"
ethernet0.present = "true"
ethernet0.generatedAddress = "00:0c:29:11:22:33"
unknown.key = ""
`;

test('a file is written as it was read, byte for byte', () => {
  assert.equal(writeVmx(parseVmx(example)), example);
  const windows = example.replaceAll('\n', '\r\n');
  assert.equal(writeVmx(parseVmx(windows)), windows);
});

test('settings are read by type', () => {
  const settings = vmxSettings(parseVmx(example));
  assert.equal(settings.displayName, 'web "one" | ü');
  assert.equal(settings.uuid, '564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7');
  assert.equal(settings.memsize, 2048);
  assert.equal(settings.numvcpus, 2);
  assert.equal(settings.firmware, 'bios');
  assert.deepEqual(
    settings.disks.map(({ slot, fileName, present, mode, isDisk }) => ({
      slot,
      fileName,
      present,
      mode,
      isDisk,
    })),
    [
      { slot: 'ide1:0', fileName: '/iso/debian.iso', present: false, mode: 'persistent', isDisk: false },
      { slot: 'scsi0:0', fileName: 'web.vmdk', present: true, mode: 'independent-persistent', isDisk: true },
      { slot: 'scsi0:10', fileName: 'data.vmdk', present: true, mode: 'persistent', isDisk: true },
    ],
  );
  assert.equal(settings.ethernets[0]?.address, '00:0c:29:11:22:33');
});

test('a change leaves everything else as it is', () => {
  const vmx = parseVmx(example);
  vmx.set('DISPLAYNAME', 'new\nname');
  vmx.set('added', 'x');
  assert.ok(vmx.delete('Unknown.Key'));
  assert.ok(!vmx.delete('unknown.key'));
  const expected = example
    .replace('displayName = "web |22one|22 |7C ü"', 'displayName = "new|0Aname"')
    .replace('unknown.key = ""\n', 'added = "x"\n');
  assert.equal(writeVmx(vmx), expected);
});

test('another encoding is decoded and becomes UTF-8', () => {
  const vmx = parseVmx(Buffer.from('.encoding = "windows-1252"\ndisplayName = "B\xfcro"\n', 'latin1'));
  assert.equal(vmx.get('displayname'), 'Büro');
  const again = parseVmx(Buffer.from(writeVmx(vmx)));
  assert.equal(again.get('displayName'), 'Büro');
  assert.equal(again.get('.encoding'), 'UTF-8');
});

test('UUIDs have two forms', () => {
  const uuid = '564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7';
  assert.equal(writeVmxUuid(uuid), '56 4d 1a 2b 3c 4d 5e 6f-70 81 92 a3 b4 c5 d6 e7');
  assert.equal(parseVmxUuid(writeVmxUuid(uuid)), uuid);
  assert.throws(() => parseVmxUuid('56 4d'), FormatError);
});

test('what is wrong is named with its line', () => {
  const wrong: [string, number][] = [
    ['a = "1"\nb "2"\n', 2],
    ['a = "1\n', 1],
    ['a = "1" rubbish\n', 1],
    ['a = "1"\n\nA = "2"\n', 3],
    ['= "x"\n', 1],
  ];
  for (const [text, line] of wrong) {
    assert.throws(
      () => parseVmx(text),
      (error) =>
        error instanceof FormatError && error.details.line === line && error.message.includes(`line ${line}`),
      text,
    );
  }
});

test('limits hold', () => {
  assert.throws(() => parseVmx('#'.repeat(1024 * 1024 + 1)), FormatError);
  assert.throws(() => parseVmx('\n'.repeat(10_001)), FormatError);
  assert.throws(() => parseVmx(`a = x${' '.repeat(1_000_000)}"`), FormatError);
  assert.throws(() => parseVmx(Buffer.from('.encoding = "klingon"\n')), FormatError);
  assert.throws(() => parseVmx(Buffer.from([0x61, 0x3d, 0xff, 0xfe])), FormatError);
});

test('whatever is set is read back', () => {
  const seed = Number(process.env.PRIMA_TEST_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  const alphabet = Array.from('ab Z9."|#=\n\r\t\0\x7f\u0085ü漢😀\\\'|7C|22');
  for (let round = 0; round < 300; round += 1) {
    const vmx = new Vmx();
    const expected = new Map<string, string>();
    for (let index = 0; index < 5; index += 1) {
      const key = `k${random.below(8)}:x.Y`;
      const value = Array.from(
        { length: random.below(12) },
        () => alphabet[random.below(alphabet.length)],
      ).join('');
      vmx.set(key, value);
      expected.set(key, value);
    }
    const again = parseVmx(Buffer.from(writeVmx(vmx)));
    for (const [key, value] of expected) assert.equal(again.get(key), value, `seed ${seed}, round ${round}`);
    assert.equal(writeVmx(again), writeVmx(vmx), `seed ${seed}, round ${round}`);
  }
});

test('damaged files raise nothing but a format error, and what is accepted is stable', () => {
  const seed = Number(process.env.PRIMA_TEST_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  const original = Buffer.from(example);
  for (let round = 0; round < 2000; round += 1) {
    const bytes = Buffer.from(original);
    for (let hits = random.below(6) + 1; hits > 0; hits -= 1) {
      bytes[random.below(bytes.length)] = random.below(4) === 0 ? 10 : random.below(256);
    }
    const cut = bytes.subarray(0, random.below(3) === 0 ? random.below(bytes.length) : bytes.length);
    try {
      const vmx = parseVmx(cut);
      const written = writeVmx(vmx);
      assert.deepEqual(
        [...parseVmx(written).entries()],
        [...parseVmx(writeVmx(parseVmx(written))).entries()],
      );
      vmxSettings(vmx);
    } catch (error) {
      assert.ok(error instanceof PrimaError, `seed ${seed}, round ${round}: ${String(error)}`);
      assert.equal(error.code, 'format', `seed ${seed}, round ${round}`);
    }
  }
});
