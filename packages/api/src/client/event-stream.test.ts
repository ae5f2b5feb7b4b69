import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStreamParser } from './event-stream.ts';

const text = [
  ': a comment',
  'id: 1',
  'event: log',
  'data: {"a":"ä…"}',
  '',
  'data:first',
  'data: second',
  'retry: 7',
  '',
  'event: only a name',
  '',
  'id',
  'data',
  '',
  '',
];

const expected = [
  { id: '1', event: 'log', data: '{"a":"ä…"}' },
  { id: '1', event: 'message', data: 'first\nsecond' },
  { id: '', event: 'message', data: '' },
];

for (const [name, end] of Object.entries({ LF: '\n', CRLF: '\r\n', CR: '\r' })) {
  test(`events come out as they are, wherever the bytes are cut: ${name}`, () => {
    // the last CR may be half of a CRLF, so a byte has to follow it
    const bytes = new TextEncoder().encode(text.join(end) + (name === 'CR' ? ':' : ''));
    for (let size = 1; size <= bytes.length; size += 1) {
      const parser = new EventStreamParser();
      const events = [];
      for (let at = 0; at < bytes.length; at += size)
        events.push(...parser.parse(bytes.subarray(at, at + size)));
      assert.deepEqual(events, expected, `cut to ${size}`);
    }
  });
}

test('an event without an end is refused, in one line or in many', () => {
  const line = new TextEncoder().encode(`data: ${'x'.repeat(1000)}\n`);
  const lines = new EventStreamParser();
  const lone = new EventStreamParser();
  const feed = (parser: EventStreamParser, bytes: Uint8Array) => () => {
    for (let i = 0; i < 1100; i += 1) parser.parse(bytes);
  };
  assert.throws(feed(lines, line), { code: 'protocol' });
  assert.throws(feed(lone, line.subarray(0, -1)), { code: 'protocol' });
});
