import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import { bytesOfText, textOfBytes } from './text.ts';

test('UTF-8 is what it is', () => {
  for (const text of ['', 'plain', 'süß', '𝄞 and 雪']) {
    assert.equal(textOfBytes(Buffer.from(text)), text);
    assert.deepEqual(bytesOfText(text), Buffer.from(text));
  }
});

test('a name in Latin-1 is shown and becomes the same bytes again', () => {
  const bytes = Buffer.from('Fran\xe7ois.qcow2', 'latin1');
  const text = textOfBytes(bytes);
  assert.equal(text, 'Fran\udce7ois.qcow2');
  assert.deepEqual(Buffer.from(bytesOfText(text)), bytes);
});

test('any bytes come back', () => {
  const random = seededRandom(20_261_127);
  for (let round = 0; round < 2000; round += 1) {
    const bytes = Buffer.from(random.bytes(new Uint8Array(random.below(12))));
    // near UTF-8, too
    if (round % 2 === 0) bytes.write('é', random.below(bytes.length + 1));
    assert.deepEqual(Buffer.from(bytesOfText(textOfBytes(bytes))), bytes, bytes.toString('hex'));
  }
});

test('half a character that stands for no byte is refused', () => {
  assert.throws(() => bytesOfText('a\ud83d'), { code: 'usage' });
  assert.throws(() => bytesOfText('a\udc41'), { code: 'usage' });
});
