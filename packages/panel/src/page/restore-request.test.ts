import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestoreToFolderRequest, RestoreToHostRequest } from '@prima/api/schemas';
import { requestOf, summaryOf } from './restore-request.ts';

const target = { whereTo: 'new', host: 'b', as: 'copy', folder: '/srv/out', start: true } as const;

test('a new machine leaves the old one alone', () => {
  const { operation, request } = requestOf(target, 'abcd', 'a/web');
  assert.equal(operation, 'restoreToHost');
  assert.deepEqual(RestoreToHostRequest.parse(request), {
    point: 'abcd',
    host: 'b',
    as: 'copy',
    start: true,
  });
  assert.match(summaryOf(target, 'a/web'), /b\/copy .* is started.* a\/web is not touched/);
});

test('over the original is on its own host, and says what is lost', () => {
  const over = { ...target, whereTo: 'original', start: false } as const;
  const { request } = requestOf(over, 'abcd', 'a/web');
  assert.deepEqual(RestoreToHostRequest.parse(request), {
    point: 'abcd',
    host: 'a',
    as: 'web',
    replace: true,
  });
  assert.match(summaryOf(over, 'a/web'), /stays off.*lost/);
});

test('a folder of the server gets files', () => {
  const { operation, request } = requestOf({ ...target, whereTo: 'folder' }, 'abcd', 'a/web');
  assert.equal(operation, 'restoreToFolder');
  assert.deepEqual(RestoreToFolderRequest.parse(request), { point: 'abcd', folder: '/srv/out' });
});
