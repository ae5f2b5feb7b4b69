import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '@prima/base';
import { LogRelay } from './log-relay.ts';

test('whoever listens hears what is logged, and the first what was logged before', () => {
  const all: string[] = [];
  const relay = new LogRelay(createLogger(({ message }) => all.push(message)));
  const heard: string[] = [];
  relay.logger.info('early');
  const stop = relay.listen(({ message }) => heard.push(message));
  relay.logger.warn('trying again');
  stop();
  relay.logger.info('between');
  const later: string[] = [];
  relay.listen(({ message }) => later.push(message));
  relay.logger.info('late');
  assert.deepEqual(all, ['early', 'trying again', 'between', 'late']);
  assert.deepEqual(heard, ['early', 'trying again']);
  assert.deepEqual(later, ['between', 'late']);
});
