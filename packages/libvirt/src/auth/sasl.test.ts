import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseMechanism } from './sasl.ts';

const where = { uri: 'qemu+tls://h/system', isPrivate: true };

test('the strongest mechanism that both have is taken', () => {
  assert.equal(chooseMechanism('PLAIN,SCRAM-SHA-1,SCRAM-SHA-256,GSSAPI', where), 'SCRAM-SHA-256');
  assert.equal(chooseMechanism('GSSAPI PLAIN', where), 'PLAIN');
});

test('a password is not sent where others could listen', () => {
  const open = { uri: 'qemu+tcp://h/system', isPrivate: false };
  assert.equal(chooseMechanism('PLAIN SCRAM-SHA-1', open), 'SCRAM-SHA-1');
  assert.throws(() => chooseMechanism('PLAIN', open), { code: 'unsupported', message: /take TLS or SSH/ });
});

test('no mechanism in common: both lists are said', () => {
  assert.throws(() => chooseMechanism('GSSAPI', where), {
    code: 'unsupported',
    message: /offers the SASL mechanisms GSSAPI, Prima has SCRAM-SHA-512, /,
  });
  assert.throws(() => chooseMechanism('', where), { message: /\(none\)/ });
});
