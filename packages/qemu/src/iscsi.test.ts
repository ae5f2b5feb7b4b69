import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrimaError } from '@prima/base';
import { identitiesOfInquiry, serialsOfInquiry } from './iscsi.ts';
import { iscsiUrl, parseIscsiUrl } from './iscsi-url.ts';

test('a LUN is named by its URL, with the standard port where none is said', () => {
  const lun = parseIscsiUrl('iscsi://san1/iqn.2026-01.example:disk1/3');
  assert.deepEqual(lun, { host: 'san1', port: 3260, target: 'iqn.2026-01.example:disk1', lun: 3 });
  assert.equal(lun && iscsiUrl(lun), 'iscsi://san1:3260/iqn.2026-01.example:disk1/3');
  assert.equal(parseIscsiUrl('iscsi://[fe80::1]:13260/iqn.x/0')?.port, 13_260);
  assert.equal(parseIscsiUrl('/dev/sdb'), undefined);
});

test('wrong ones are refused, and passwords never get into an argument list', () => {
  for (const text of ['iscsi://', 'iscsi://a/b', 'iscsi://a/b/x', 'iscsi://a/b/1/2']) {
    assert.throws(
      () => parseIscsiUrl(text),
      (error: PrimaError) => error.code === 'usage' && /HOST/.test(error.message),
    );
  }
  assert.throws(
    () => parseIscsiUrl('iscsi://user%secret@a/b/1'),
    (error: PrimaError) => error.code === 'usage' && !error.message.includes('secret'),
  );
});

test('what iscsi-inq prints', () => {
  const page83 = `Peripheral Qualifier:CONNECTED
Page Code:(0x83) DEVICE_IDENTIFICATION
DEVICE DESIGNATOR #0
Code Set:(1) BINARY
Association:(0) LOGICAL_UNIT
Designator Type:(3) NAA
Designator:[\`]
DEVICE DESIGNATOR #1
Code Set:(2) ASCII
Association:(0) LOGICAL_UNIT
Designator Type:(1) T10_VENDORT_ID
Designator:[LABID1]
`;
  assert.deepEqual(identitiesOfInquiry(page83), ['t10.LABID1']);
  assert.deepEqual(serialsOfInquiry('Unit Serial Number:[        LAB0001]\n'), ['serial.LAB0001']);
  assert.deepEqual(identitiesOfInquiry('nothing'), []);
});
