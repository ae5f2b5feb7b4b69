import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import { describe, it } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import { aesGcmFor, plainAesGcm } from './aes-gcm.ts';

const shared = (length: number) => new Uint8Array(new SharedArrayBuffer(length));
const random = seededRandom(5);
const seal = {
  key: random.bytes(new Uint8Array(32)),
  nonce: random.bytes(new Uint8Array(12)),
  about: random.bytes(new Uint8Array(96)),
};

describe('AES-256-GCM', () => {
  const native = aesGcmFor(MiB);
  const plain = plainAesGcm('to compare with');

  it('is the OpenSSL that is in Node', () => {
    assert.equal(native.reason, undefined);
  });

  it('loads nothing for what is little', () => {
    assert.equal(aesGcmFor(64 * KiB - 1).reason, 'it is little');
  });

  for (const [name, one, other] of [
    ['direct to node:crypto', native, plain],
    ['node:crypto to direct', plain, native],
    ['direct', native, native],
  ] as const) {
    it(`gives back what it got: ${name}`, () => {
      for (const length of [0, 1, 15, 16, 64 * KiB, MiB + 17]) {
        const from = random.bytes(shared(length));
        const memory = shared(length + 20);
        const tag = memory.subarray(length + 3, length + 19);
        one.encrypt(seal, from, memory.subarray(3, length + 3), tag);
        const into = shared(length);
        assert.ok(other.decrypt(seal, memory.subarray(3, length + 3), into, tag));
        assert.equal(Buffer.compare(from, into), 0);
      }
    });
  }

  for (const [name, gcm] of [
    ['direct', native],
    ['node:crypto', plain],
  ] as const) {
    describe(name, () => {
      const from = random.bytes(shared(100_000));
      const sealed = shared(from.length);
      const tag = shared(16);
      gcm.encrypt(seal, from, sealed, tag);

      it('encrypts in place', () => {
        const memory = shared(from.length + 1);
        memory.set(from, 1);
        gcm.encrypt(seal, memory.subarray(1), memory.subarray(1), shared(16));
        assert.equal(Buffer.compare(memory.subarray(1), sealed), 0);
        assert.ok(gcm.decrypt(seal, memory.subarray(1), memory.subarray(1), tag));
        assert.equal(Buffer.compare(memory.subarray(1), from), 0);
      });

      it('tells whatever was changed', () => {
        const flipped = (bytes: Uint8Array) => {
          const copy = Uint8Array.from(bytes);
          copy[3] = (copy[3] ?? 0) ^ 4;
          return copy;
        };
        const into = shared(from.length);
        assert.equal(gcm.decrypt(seal, flipped(sealed), into, tag), false);
        assert.equal(gcm.decrypt(seal, sealed, into, flipped(tag)), false);
        for (const part of ['key', 'nonce', 'about'] as const) {
          const other = { ...seal, [part]: flipped(seal[part]) };
          assert.equal(gcm.decrypt(other, sealed, into, tag), false, part);
        }
        assert.ok(gcm.decrypt(seal, sealed, into, tag), 'it works again afterwards');
      });

      it('leaves no error behind for node:crypto', () => {
        assert.equal(gcm.decrypt(seal, sealed, shared(from.length), shared(16)), false);
        const decipher = createDecipheriv('aes-256-gcm', seal.key, seal.nonce).setAAD(seal.about);
        decipher.setAuthTag(tag);
        decipher.update(sealed);
        decipher.final();
      });
    });
  }
});
