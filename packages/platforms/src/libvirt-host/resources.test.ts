import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskResourceNames } from '../resources.ts';
import { mergedLimits, tuneField } from './resources.ts';

test('limits of disks have the names that libvirt documents (virDomainBlockIoTune)', () => {
  assert.deepEqual(diskResourceNames.map(tuneField), [
    'total_bytes_sec',
    'read_bytes_sec',
    'write_bytes_sec',
    'total_iops_sec',
    'read_iops_sec',
    'write_iops_sec',
    'total_bytes_sec_max',
    'read_bytes_sec_max',
    'write_bytes_sec_max',
    'total_iops_sec_max',
    'read_iops_sec_max',
    'write_iops_sec_max',
  ]);
});

test('limits that are not given stay; a total takes the place of reads and writes, and they of it', () => {
  const before = { 'read-bytes': 1, 'write-bytes': 2, 'total-iops': 3 };
  assert.deepEqual(mergedLimits(before, { 'read-bytes': 5 }), {
    'read-bytes': 5,
    'write-bytes': 2,
    'total-iops': 3,
    'total-bytes': 0,
  });
  assert.deepEqual(mergedLimits(before, { 'total-bytes': 5, 'read-iops': 7 }), {
    'read-bytes': 0,
    'write-bytes': 0,
    'total-bytes': 5,
    'total-iops': 0,
    'read-iops': 7,
  });
  assert.deepEqual(mergedLimits(before, { 'total-iops': 0 }), { ...before, 'total-iops': 0 });
});
