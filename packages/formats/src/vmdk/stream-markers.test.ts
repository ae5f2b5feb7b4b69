import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  grainRecordBytes,
  markerName,
  markerType,
  parseMarker,
  writeGrain,
  writeMarker,
} from './stream-markers.ts';

test('a grain: sector, size, data, padding', () => {
  const record = new Uint8Array(grainRecordBytes(501)).fill(7);
  assert.equal(record.length, 1024);
  writeGrain(record, 2 ** 40 + 1, new Uint8Array(501).fill(9));
  assert.deepEqual(parseMarker(record, 0, 'x'), { kind: 'grain', lba: 2 ** 40 + 1, size: 501 });
  assert.deepEqual([...record.subarray(0, 13)], [1, 0, 0, 0, 0, 1, 0, 0, 0xf5, 1, 0, 0, 9]);
  assert.ok(
    record.subarray(513).every((byte) => byte === 0),
    'the padding is zeros',
  );
  assert.equal(grainRecordBytes(500), 512);
});

test('other markers: sectors, type', () => {
  for (const type of Object.values(markerType)) {
    const marker = writeMarker(type, 5);
    assert.equal(marker.length, 512);
    assert.deepEqual(parseMarker(marker, 0, 'x'), { kind: 'other', type, sectors: 5 });
    assert.match(markerName(type), /\w/);
  }
});

test('what is no marker is refused with its place', () => {
  const unknown = writeMarker(markerType.progress, 1);
  unknown[12] = 5;
  assert.throws(() => parseMarker(unknown, 1024, 'x.vmdk'), {
    code: 'format',
    message: /^x\.vmdk: at byte 1024 is a marker of type 5/,
  });
  const large = writeMarker(markerType.grainTable, 1);
  large[7] = 0x80;
  assert.throws(() => parseMarker(large, 0, 'x'), { code: 'format', message: /too large/ });
  large[8] = 1;
  assert.throws(() => parseMarker(large, 0, 'x'), { code: 'format', message: /a grain for sector \d+/ });
});
