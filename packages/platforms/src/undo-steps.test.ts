import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { UndoSteps } from './undo-steps.ts';

test('one step that fails does not stop the others, and is raised at the end', async () => {
  const steps = new UndoSteps();
  await steps.step('the first', async () => true);
  await steps.step('nothing to do', async () => false);
  steps.end('undoing');
  await steps.step('the second', () => Promise.reject(new PrimaError('busy', 'somebody has it')));
  await steps.step('the third', async () => true);
  assert.deepEqual(steps.done, ['the first', 'the third']);
  assert.throws(() => steps.end('undoing'), {
    code: 'busy',
    message: 'undoing: somebody has it',
    retryable: true,
  });
});
