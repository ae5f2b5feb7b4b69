import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNbdUri, writeNbdUri } from './uri.ts';

test('URIs of the specification', () => {
  const tcp = (host: string, port: number, exportName: string, tls = false) => ({
    target: { host, port },
    exportName,
    tls,
  });
  const unix = (socketPath: string, exportName: string, tls = false) => ({
    target: { socketPath },
    exportName,
    tls,
  });
  assert.deepEqual(parseNbdUri('nbd://example.com'), tcp('example.com', 10_809, ''));
  assert.deepEqual(parseNbdUri('nbd://example.com:1234/disk'), tcp('example.com', 1234, 'disk'));
  assert.deepEqual(parseNbdUri('nbds://[::1]:10810/a%20b/c'), tcp('::1', 10_810, 'a b/c', true));
  assert.deepEqual(parseNbdUri('nbd:///'), tcp('localhost', 10_809, ''));
  assert.deepEqual(parseNbdUri('nbd+unix:///?socket=/run/a%20b.sock'), unix('/run/a b.sock', ''));
  assert.deepEqual(parseNbdUri('nbd+unix:///disk?socket=/s'), unix('/s', 'disk'));
  assert.deepEqual(parseNbdUri('nbds+unix:////disk?socket=s'), unix('s', '/disk', true));
});

test('what is not an NBD URI is refused', () => {
  for (const text of [
    'http://example.com',
    'nbd:example.com',
    'nbd://user@example.com/',
    'nbd://example.com:0/',
    'nbd://example.com:65536/',
    'nbd://example.com/a?socket=/s',
    'nbd+unix://host/a?socket=/s',
    'nbd+unix:///a',
    'nbd+unix:///a?socket=',
    'nbd+unix:///a?socket=/s&socket=/t',
    'nbd+unix:///a?other=1&socket=/s',
    'nbd://example.com/%zz',
    'nbd://example.com/a%00b',
    `nbd://example.com/${'x'.repeat(4097)}`,
    'nbd+vsock://2/',
  ]) {
    assert.throws(() => parseNbdUri(text), { code: 'usage' }, text);
  }
});

test('a written URI is read as the same', () => {
  for (const text of ['nbd://example.com:1234/a%20b/c', 'nbds://[::1]/', 'nbd+unix:///d?socket=/run/x%3Fy']) {
    const uri = parseNbdUri(text);
    assert.deepEqual(parseNbdUri(writeNbdUri(uri)), uri);
  }
});
