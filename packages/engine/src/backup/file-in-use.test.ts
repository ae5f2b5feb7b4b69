import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasWriter } from './file-in-use.ts';

/** As /proc/locks shows a disk that QEMU has open for writing (first), for reading (second), and other locks. */
const locks = `1: OFDLCK ADVISORY  READ -1 fe:00:2146314 100 101
2: OFDLCK ADVISORY  READ -1 fe:00:2146315 100 100
3: OFDLCK ADVISORY  READ -1 fe:00:2146315 201 201
4: POSIX  ADVISORY  WRITE 17741 fe:00:2179114 0 EOF
5: FLOCK  ADVISORY  WRITE 99 103:1a2b:7 0 EOF
6: OFDLCK ADVISORY  READ -1 103:1a2b:8 0 EOF
`;

test('a writer is told from a reader and from locks that are not QEMU’s', () => {
  const device = 0xfe00;
  assert.equal(hasWriter(locks, { dev: device, ino: 2146314 }), true);
  assert.equal(hasWriter(locks, { dev: device, ino: 2146315 }), false);
  assert.equal(hasWriter(locks, { dev: device, ino: 2179114 }), false);
  assert.equal(hasWriter(locks, { dev: device + 1, ino: 2146314 }), false);
  assert.equal(hasWriter('', { dev: device, ino: 2146314 }), false);
  // major 0x103, minor 0x1a2b as stat(2) packs them
  const large = 0x2b + 0x103 * 2 ** 8 + 0x1a * 2 ** 20;
  assert.equal(hasWriter(locks, { dev: large, ino: 7 }), false);
  assert.equal(hasWriter(locks, { dev: large, ino: 8 }), true);
});
