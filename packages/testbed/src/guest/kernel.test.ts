import assert from 'node:assert/strict';
import { test } from 'node:test';
import { payloadOf } from './kernel.ts';

/** A bzImage of one setup sector after the boot sector, with `payload` 16 bytes into the protected-mode part. */
function bzImage(payload: Uint8Array): Buffer {
  const image = Buffer.alloc(1024 + 16 + payload.length);
  image.writeUInt8(1, 0x1f1);
  image.write('HdrS', 0x202, 'latin1');
  image.writeUInt32LE(16, 0x248);
  image.writeUInt32LE(payload.length, 0x24c);
  image.set(payload, 1024 + 16);
  return image;
}

const bytes = (start: string) => Buffer.concat([Buffer.from(start, 'hex'), Buffer.alloc(30, 7)]);

test('finds the payload, tells its compression, and cuts the size off that follows it', () => {
  const lz4 = payloadOf(bzImage(bytes('02214c18')));
  assert.equal(lz4.compression, 'lz4');
  assert.equal(lz4.payload.length, 30);
  const gzip = payloadOf(bzImage(bytes('1f8b0800')));
  assert.equal(gzip.compression, 'gzip');
  assert.equal(gzip.payload.length, 34);
  assert.equal(payloadOf(bzImage(bytes('fd377a585a00'))).compression, 'xz');
  assert.equal(payloadOf(bzImage(bytes('28b52ffd'))).compression, 'zstd');
});

test('what is not a bzImage, lies about its length, or is packed otherwise, is a format error', () => {
  const image = bzImage(bytes('02214c18'));
  assert.throws(() => payloadOf(Buffer.alloc(4096)), { code: 'format', message: /bzImage/ });
  assert.throws(() => payloadOf(image.subarray(0, 100)), { code: 'format' });
  assert.throws(() => payloadOf(image.subarray(0, image.length - 1)), { code: 'format', message: /outside/ });
  assert.throws(() => payloadOf(bzImage(bytes('425a6839'))), { code: 'format', message: /425a6839/ });
});
