import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffLines } from './line-diff.ts';

const shown = (a: string, b: string) =>
  diffLines(a.split(' '), b.split(' ')).map(({ kind, text }) =>
    kind === 'gap' ? '…' : `${{ same: ' ', removed: '-', added: '+' }[kind]}${text}`,
  );

test('what changes is shown with what is around it', () => {
  assert.deepEqual(shown('a b c', 'a b c'), []);
  assert.deepEqual(shown('a b c', 'a x c'), [' a', '-b', '+x', ' c']);
  assert.deepEqual(shown('1 2 3 4 5 6 7', '1 2 3 4 5 6 7 8'), ['…', ' 6', ' 7', '+8']);
  assert.deepEqual(shown('0 1 2 3 4 5 6 7', '1 2 3 4 5 6 x 7'), [
    '-0',
    ' 1',
    ' 2',
    '…',
    ' 5',
    ' 6',
    '+x',
    ' 7',
  ]);
});

test('applied to the first text, the lines give the second', () => {
  const word = (seed: number) => String.fromCharCode(97 + (seed % 5));
  let state = 7;
  const next = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) >> 8;
  for (let round = 0; round < 200; round += 1) {
    const [a, b] = [0, 1].map(() => Array.from({ length: next() % 12 }, () => word(next())));
    const lines = diffLines(a ?? [], b ?? []);
    const kept = (kinds: string[]) =>
      lines.filter(({ kind }) => kinds.includes(kind)).map(({ text }) => text);
    if (lines.some(({ kind }) => kind === 'gap') || lines.length === 0) continue;
    assert.deepEqual(kept(['same', 'removed']), a);
    assert.deepEqual(kept(['same', 'added']), b);
  }
});

test('texts that are too long to be compared are shown whole', () => {
  const [a, b] = [0, 1].map((kind) => Array.from({ length: 2500 }, (_, line) => `${kind} ${line}`));
  assert.equal(diffLines(a ?? [], b ?? []).length, 5000);
});
