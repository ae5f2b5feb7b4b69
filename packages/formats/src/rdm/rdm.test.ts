import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrimaError } from '@prima/base';
import { parseMapping, writeMapping } from './mapping-file.ts';
import { identitiesOfPage80, identitiesOfPage83, isSameLun } from './scsi-identity.ts';

/** A designator of page 0x83. */
function designator(codeSet: number, kind: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([codeSet, kind, 0, bytes.length]), bytes]);
}

function page(code: number, body: Buffer): Buffer {
  const head = Buffer.from([0, code, 0, 0]);
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

test('the designators of a LUN are read, those of its port and of unknown types are not', () => {
  const naa = Buffer.from('600140512345678', 'hex');
  const body = Buffer.concat([
    designator(1, 3, naa),
    designator(2, 1, Buffer.from('LIO-ORG disk1   ')),
    designator(1, 0x13, Buffer.from('5001405aaaaaaaaa', 'hex')),
    designator(1, 8, Buffer.from('other')),
    designator(1, 3, Buffer.alloc(8)),
  ]);
  assert.deepEqual(identitiesOfPage83(page(0x83, body)), [`naa.${naa.toString('hex')}`, 't10.LIO-ORG disk1']);
});

test('a page that is cut, empty or another one says nothing wrong', () => {
  const whole = page(0x83, designator(1, 3, Buffer.from('60014051', 'hex')));
  for (let length = 0; length < whole.length; length += 1)
    assert.deepEqual(identitiesOfPage83(whole.subarray(0, length)), []);
  assert.deepEqual(identitiesOfPage83(page(0x80, Buffer.from('x'))), []);
  assert.deepEqual(identitiesOfPage80(page(0x80, Buffer.from('   LAB0001'))), ['serial.LAB0001']);
  assert.deepEqual(identitiesOfPage80(page(0x80, Buffer.from('     '))), []);
});

test('two LUNs of one array may have one serial number: what is better decides', () => {
  assert.equal(isSameLun(['naa.1', 'serial.A'], ['naa.1']), true);
  assert.equal(isSameLun(['naa.1', 'serial.A'], ['naa.2', 'serial.A']), false);
  assert.equal(isSameLun(['naa.1', 'serial.A'], ['serial.A']), true);
  assert.equal(isSameLun([], []), false);
});

test('a mapping file comes back as it was; whatever else is refused with what to do', () => {
  const mapping = { version: 1, device: '/dev/sdb', size: 1024, identities: ['naa.1'] } as const;
  assert.deepEqual(parseMapping(writeMapping(mapping), 'x'), mapping);
  for (const text of [
    '',
    'null',
    '[]',
    '{"version":2}',
    writeMapping({ ...mapping, size: 100 }),
    writeMapping({ ...mapping, device: '' }),
  ]) {
    assert.throws(
      () => parseMapping(text, 'x-rdm.vmdk'),
      (error: PrimaError) => error.code === 'format' && /rdm remap/.test(error.message),
    );
  }
});
