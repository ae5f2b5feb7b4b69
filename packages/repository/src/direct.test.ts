import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MiB, PrimaError } from '@prima/base';
import { directly } from './direct.ts';

const plain = (reason: string) => ({ kind: 'plain', reason });

function native(tryOut: () => void) {
  let made = 0;
  const choose = directly<{ kind: string; reason: string | undefined }>({
    name: 'zstd',
    plain,
    native: () => {
      made += 1;
      return { kind: 'native', reason: undefined, tryOut };
    },
  });
  return { choose, made: () => made };
}

test('what calls C is made once, for what is large', () => {
  const { choose, made } = native(() => undefined);
  assert.deepEqual(choose(1000), plain('it is little'));
  assert.equal(made(), 0);
  assert.equal(choose(MiB).kind, 'native');
  assert.equal(choose(2 * MiB), choose(MiB));
  assert.equal(made(), 1);
});

test("where it does not work, Node's own does, and says why", () => {
  const { choose, made } = native(() => {
    throw new PrimaError('state', 'it is another one');
  });
  assert.deepEqual(choose(MiB), plain('zstd cannot be called directly: it is another one'));
  choose(MiB);
  assert.equal(made(), 1, 'it is not tried again');
});
