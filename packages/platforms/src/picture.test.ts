import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inflateSync } from 'node:zlib';
import { ppmToPng } from './picture.ts';

test('a PPM becomes a PNG of the same pixels', () => {
  const pixels = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const png = Buffer.from(ppmToPng(Buffer.concat([Buffer.from('P6\n# made by hand\n2 2\n255\n'), pixels])));
  assert.equal(png.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n');
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [2, 2]);
  const length = png.readUInt32BE(33);
  assert.equal(png.subarray(37, 41).toString(), 'IDAT');
  const lines = inflateSync(png.subarray(41, 41 + length));
  assert.deepEqual([...lines], [0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12]);
});

test('anything else is refused', () => {
  for (const text of ['', 'P6\n2 2\n255\nabc', 'P5\n1 1\n255\na', 'P6\n0 2\n255\n', 'P6\n99999 2\n255\n']) {
    assert.throws(() => ppmToPng(Buffer.from(text)), { code: 'format' });
  }
});
