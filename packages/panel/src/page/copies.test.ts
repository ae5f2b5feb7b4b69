import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copiesOf } from './copies.ts';

const first = { id: 'a', repository: 'main' };
const copy = { id: 'b', origin: 'a', repository: 'far' };
const copyOfCopy = { id: 'c', origin: 'a', repository: 'tape' };
const other = { id: 'd', repository: 'far' };
const all = [first, copy, copyOfCopy, other];

test('a point, its copies and their copies know each other, and no other', () => {
  assert.deepEqual(copiesOf(first, all), ['far', 'tape']);
  assert.deepEqual(copiesOf(copy, all), ['main', 'tape']);
  assert.deepEqual(copiesOf(copyOfCopy, all), ['far', 'main']);
  assert.deepEqual(copiesOf(other, all), []);
});
