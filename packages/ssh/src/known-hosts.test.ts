import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { fingerprint, judgeHostKey, keysForHost, keyType } from './known-hosts.ts';

const blob = (type: string, text: string) => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type + text)]);
};
const [a, b, old] = ['one', 'two', 'old'].map((text) => blob('ssh-ed25519', text)) as [
  Buffer,
  Buffer,
  Buffer,
];

const hashed = (name: string) => {
  const salt = Buffer.from('a salt of 20 bytes..');
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
};
const line = (hosts: string, key: Buffer) => `${hosts} ${keyType(key)} ${key.toString('base64')} a comment`;

test('plain names, ports, patterns and hashed names are found; what is no line is skipped', () => {
  const text = [
    '# a comment',
    '',
    'rubbish',
    line('Backup.example.org,192.0.2.1', a),
    line('[backup.example.org]:2222', b),
    line('*.dmz.example.org,!bad.dmz.example.org', b),
    line(hashed('hidden'), a),
    line(hashed('[hidden]:2222'), b),
    line('@cert-authority *', old),
  ].join('\n');
  const found = (host: string, port = 22) => keysForHost(text, host, port).map(({ key }) => key);
  assert.deepEqual(found('backup.example.org'), [a]);
  assert.deepEqual(found('BACKUP.example.org'), [a]);
  assert.deepEqual(found('192.0.2.1'), [a]);
  assert.deepEqual(found('backup.example.org', 2222), [b]);
  assert.deepEqual(found('backup.example.org', 23), []);
  assert.deepEqual(found('x.dmz.example.org'), [b]);
  assert.deepEqual(found('bad.dmz.example.org'), []);
  assert.deepEqual(found('hidden'), [a]);
  assert.deepEqual(found('hidden', 2222), [b]);
  assert.deepEqual(found('other'), []);
});

test('a pattern of many stars takes no time worth speaking of', () => {
  assert.deepEqual(keysForHost(line(`${'*a'.repeat(2000)}b`, a), 'a'.repeat(5000), 22), []);
});

test('a key is known, unknown, changed or revoked', () => {
  const known = keysForHost([line('h', a), `@revoked ${line('h', old)}`].join('\n'), 'h', 22);
  assert.equal(judgeHostKey(a, known), 'known');
  assert.equal(judgeHostKey(b, known), 'changed');
  assert.equal(judgeHostKey(old, known), 'revoked');
  assert.equal(judgeHostKey(a, []), 'unknown');
  assert.equal(judgeHostKey(b, keysForHost(`@revoked ${line('h', old)}`, 'h', 22)), 'unknown');
});

test('fingerprints and types are as ssh-keygen shows them', () => {
  // ssh-keygen -lf of this public key
  const text = 'AAAAC3NzaC1lZDI1NTE5AAAAIJgP2bRWbyb4FTTVbsRrFcSF3RvnPCTE1oFVhDVeFYJY';
  assert.equal(keyType(Buffer.from(text, 'base64')), 'ssh-ed25519');
  assert.match(fingerprint(Buffer.from(text, 'base64')), /^SHA256:[A-Za-z0-9+/]{43}$/);
  assert.equal(keyType(Buffer.alloc(2)), '');
});
