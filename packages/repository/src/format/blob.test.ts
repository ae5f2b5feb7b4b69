import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  blobHeaderBytes,
  blobOverheadBytes,
  blobType,
  compression,
  parseBlobHeader,
  writeBlobHeader,
} from './blob.ts';

test('headers of every type are read back, others are refused', () => {
  const types = Object.values(blobType);
  const header = {
    compression: compression.zstd,
    epoch: 3,
    id: new Uint8Array(32).fill(7),
    salt: new Uint8Array(16).fill(9),
    counter: 2 ** 40,
    plainLength: 100,
    cipherLength: 20,
  };
  const bytes = Buffer.alloc(blobOverheadBytes + header.cipherLength);
  for (const type of types) {
    writeBlobHeader({ type, ...header }, bytes.subarray(0, blobHeaderBytes));
    const { id, salt, ...found } = parseBlobHeader(bytes, 'here');
    const { id: _id, salt: _salt, ...expected } = header;
    assert.deepEqual(found, { type, ...expected });
    assert.equal(Buffer.compare(id, header.id), 0);
    assert.equal(Buffer.compare(salt, header.salt), 0);
  }
  for (const type of [0, Math.max(...types) + 1]) {
    bytes[4] = type;
    assert.throws(() => parseBlobHeader(bytes, 'here'), { code: 'integrity' });
  }
});
