import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RedoChoice } from '../platform.ts';
import { diskMode, type LeftLog, stepsAfterRun, stepsBeforeRun } from './disk-modes.ts';

const before = (mode: string, left?: LeftLog, choice?: RedoChoice) =>
  stepsBeforeRun({ name: 'a', mode: diskMode(mode), ...(left && { left }) }, choice);
const after = (mode: string, left?: LeftLog, choice?: RedoChoice) =>
  stepsAfterRun({ mode: diskMode(mode), ...(left && { left }) }, choice);

test('the log of a nonpersistent run goes, that of any other is kept until somebody says what becomes of it', () => {
  assert.deepEqual(before('independent-nonpersistent'), ['add']);
  assert.deepEqual(before('nonpersistent', { mode: 'nonpersistent' }), ['discard', 'add']);
  assert.deepEqual(after('nonpersistent', { mode: 'nonpersistent' }), ['discard']);
  for (const left of [{ mode: 'undoable' }, { mode: 'append' }, {}]) {
    assert.throws(() => before('nonpersistent', left), { code: 'state' });
    assert.throws(() => before('nonpersistent', left, 'append'), { code: 'state' });
    assert.deepEqual(before('nonpersistent', left, 'commit'), ['commit', 'add']);
    assert.deepEqual(before('nonpersistent', left, 'discard'), ['discard', 'add']);
    assert.deepEqual(after('nonpersistent', left), []);
  }
});

test('what was not to be kept is asked about once its disk is undoable', () => {
  assert.throws(() => before('undoable', { mode: 'nonpersistent' }), { code: 'state' });
  assert.deepEqual(before('undoable', { mode: 'undoable' }, 'append'), []);
  assert.deepEqual(before('append', { mode: 'undoable' }), []);
  assert.deepEqual(before('persistent', { mode: 'undoable' }), []);
  assert.deepEqual(after('undoable', { mode: 'undoable' }, 'keep'), []);
  assert.deepEqual(after('undoable', { mode: 'undoable' }, 'discard'), ['discard']);
});
