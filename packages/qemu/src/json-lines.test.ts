import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolError, seededRandom } from '@prima/base';
import { type JsonObject, JsonLineParser } from './json-lines.ts';

function parse(parser: JsonLineParser, ...pieces: (string | Uint8Array)[]): JsonObject[] {
  return pieces.flatMap((piece) => [...parser.push(typeof piece === 'string' ? Buffer.from(piece) : piece)]);
}

test('lines are cut out of any pieces', () => {
  const text = Buffer.from('{"a":"ü"}\r\n\n{"b":[1,{"c":null}]}\n{"d":1}');
  for (let step = 1; step < 9; step += 1) {
    const parser = new JsonLineParser();
    const pieces = Array.from({ length: Math.ceil(text.length / step) }, (_, index) =>
      text.subarray(index * step, (index + 1) * step),
    );
    assert.deepEqual(parse(parser, ...pieces), [{ a: 'ü' }, { b: [1, { c: null }] }]);
    assert.deepEqual(parse(parser, '\n'), [{ d: 1 }]);
  }
});

test('what is no object raises, with the text', () => {
  for (const line of ['nonsense\u0007', '[1]', 'null', '7', '{"a":']) {
    assert.throws(() => parse(new JsonLineParser(), `${line}\n`), ProtocolError);
  }
  assert.throws(() => parse(new JsonLineParser(), 'SSH-2.0-x\n'), /SSH-2\.0-x/);
});

test('the limit holds for a line that comes in pieces, with or without its end', () => {
  const parser = new JsonLineParser({ limitBytes: 20 });
  assert.deepEqual(parse(parser, `{"a":"${'x'.repeat(12)}"}\n`), [{ a: 'x'.repeat(12) }]);
  assert.throws(() => parse(parser, '{"a":"', 'x'.repeat(10), 'xxxxx'), /over 20 bytes/);
  assert.throws(() => parse(new JsonLineParser({ limitBytes: 20 }), `${'x'.repeat(21)}\n`), ProtocolError);
});

test('resynchronising drops nonsense and what comes before 0xFF', () => {
  const parser = new JsonLineParser({ resync: true, limitBytes: 100 });
  const mark = Buffer.from([0xff]);
  const found = parse(
    parser,
    'half a mess',
    mark,
    '{"return":',
    '1}\n[1]\nrubbish\n',
    mark,
    mark,
    '{"a":2}\n',
  );
  assert.deepEqual(found, [{ return: 1 }, { a: 2 }]);
});

test('random bytes raise nothing but protocol errors, and pieces do not matter', () => {
  const seed = Number(process.env.PRIMA_TEST_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  const alphabet = Buffer.concat([
    Buffer.from('{}[]":,\\ \n\r\ttruefalsenul0123456789.eE-ü'),
    Buffer.from([0, 0xff, 0xc3]),
  ]);
  for (let round = 0; round < 3000; round += 1) {
    const bytes = Buffer.from(
      Array.from({ length: random.below(80) }, () => alphabet[random.below(alphabet.length)] ?? 0),
    );
    if (random.below(2) === 0) bytes.write('{"a":1}\n', random.below(bytes.length + 1));
    const resync = random.below(2) === 0;
    const whole = outcome(resync, [bytes]);
    const cut = random.below(bytes.length + 1);
    assert.deepEqual(
      outcome(resync, [bytes.subarray(0, cut), bytes.subarray(cut)]),
      whole,
      `seed ${seed}, round ${round}`,
    );
    if (resync) assert.equal(whole.failed, false, `seed ${seed}, round ${round}`);
  }
});

function outcome(resync: boolean, pieces: Uint8Array[]) {
  const parser = new JsonLineParser({ resync, limitBytes: 200 });
  const found: JsonObject[] = [];
  try {
    for (const piece of pieces) for (const object of parser.push(piece)) found.push(object);
    return { found, failed: false };
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
    return { found, failed: true };
  }
}
