import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError } from '@prima/base';
import { type TypedParam, typedParam, uuid } from './calls/types.ts';
import {
  array,
  chars,
  type Codec,
  decode,
  defaulting,
  encode,
  fixedChars,
  flag,
  float64,
  int32,
  int64,
  opaque,
  optional,
  safeInt64,
  safeUint64,
  string,
  struct,
  uint32,
  uint64,
} from './xdr.ts';

/** The bytes by RFC 4506, as hex with a space between units. */
function isWritten<T>(codec: Codec<T>, value: T, hex: string): void {
  const bytes = encode(codec, value);
  assert.equal(bytes.toString('hex').replace(/(.{8})(?=.)/g, '$1 '), hex);
  assert.deepEqual(decode(codec, bytes), value);
}

const offsetIs = (offset: number) => (error: unknown) => {
  assert.ok(error instanceof ProtocolError);
  assert.equal(error.details['offset'], offset, error.message);
  return true;
};

test('every type is written as the specification has it and read back', () => {
  isWritten(int32, -2, 'fffffffe');
  isWritten(uint32, 4_294_967_295, 'ffffffff');
  isWritten(flag, true, '00000001');
  isWritten(int64, -(2n ** 63n), '80000000 00000000');
  isWritten(uint64, 2n ** 64n - 1n, 'ffffffff ffffffff');
  isWritten(safeUint64, 2 ** 53 - 1, '001fffff ffffffff');
  isWritten(safeInt64, -1, 'ffffffff ffffffff');
  isWritten(float64, 1.5, '3ff80000 00000000');
  isWritten(string(10), 'sillyprog', '00000009 73696c6c 7970726f 67000000');
  isWritten(opaque(10), Uint8Array.of(1, 2, 3, 4), '00000004 01020304');
  isWritten(optional(int32), undefined, '00000000');
  isWritten(optional(int32), 7, '00000001 00000007');
  isWritten(array(flag, 2), [false, true], '00000002 00000000 00000001');
  isWritten(struct({ a: uint32, b: string(4) }), { a: 1, b: '' }, '00000001 00000000');
  isWritten(chars(4), Uint8Array.of(0, 255), '00000002 00000000 000000ff');
  isWritten(uuid, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', '6ba7b810 9dad11d1 80b400c0 4fd430c8');
});

test('typed parameters of every type are written and read back', () => {
  const params: TypedParam[] = [
    { field: 'a', type: 'int', value: -1 },
    { field: 'b', type: 'uint', value: 4_294_967_295 },
    { field: 'c', type: 'llong', value: -(2n ** 63n) },
    { field: 'd', type: 'ullong', value: 2n ** 64n - 1n },
    { field: 'e', type: 'double', value: 0.1 },
    { field: 'f', type: 'boolean', value: true },
    { field: 'g', type: 'string', value: 'ä' },
  ];
  for (const [index, param] of params.entries()) {
    const bytes = encode(typedParam, param);
    assert.equal(bytes.readInt32BE(8), index + 1);
    assert.deepEqual(decode(typedParam, bytes), param);
  }
  const unknown = encode(struct({ field: string(9), type: int32 }), { field: 'x', type: 8 });
  assert.throws(() => decode(typedParam, unknown), offsetIs(12));
});

test('a field with a default may be left out', () => {
  const codec = struct({ flags: defaulting(uint32, 5), name: optional(string(9)) });
  assert.deepEqual(decode(codec, encode(codec, {})), { flags: 5, name: undefined });
  assert.deepEqual(decode(codec, encode(codec, { flags: 1, name: 'a' })), { flags: 1, name: 'a' });
});

test("C's text in a field of fixed length ends at its NUL", () => {
  const bytes = encode(array(uint32, 4), [65, 66, 0, 67]).subarray(4);
  assert.equal(decode(fixedChars(4), bytes), 'AB');
});

test('what is too long, too short or too much is refused with its place', () => {
  assert.throws(() => decode(string(8), encode(string(9), '123456789')), offsetIs(4));
  assert.throws(() => decode(array(int32, 2), encode(array(int32, 3), [1, 2, 3])), offsetIs(4));
  // a length that would need memory before it is seen to be a lie
  assert.throws(() => decode(array(int32, 2 ** 31), Buffer.from('7fffffff00000000', 'hex')), offsetIs(4));
  assert.throws(() => decode(opaque(2 ** 31), Buffer.from('7fffffff00000000', 'hex')), offsetIs(4));
  assert.throws(() => decode(int32, Buffer.alloc(3)), offsetIs(0));
  assert.throws(() => decode(int32, Buffer.alloc(8)), offsetIs(4));
  assert.throws(() => decode(optional(int32), Buffer.from('0000000200000000', 'hex')), offsetIs(4));
  assert.throws(() => decode(string(8), Buffer.from('0000000361006200', 'hex')), offsetIs(8));
  assert.throws(() => decode(safeUint64, Buffer.from('0020000000000000', 'hex')), offsetIs(8));
});

test('what cannot be written is refused before anything is sent', () => {
  const cases: [Codec<unknown, never>, unknown][] = [
    [int32, 2 ** 31],
    [uint32, -1],
    [uint32, 0.5],
    [int64, 2n ** 63n],
    [uint64, -1n],
    [safeUint64, 2 ** 53],
    [string(3), 'four'],
    [string(9), 'a\0b'],
    [string(9), '\ud800'],
    [opaque(1), Buffer.alloc(2)],
    [array(int32, 1), [1, 2]],
    [uuid, '6ba7b810'],
  ];
  for (const [codec, value] of cases) {
    assert.throws(() => encode(codec, value as never), { code: 'usage' }, String(value));
  }
});
