import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { test } from 'node:test';
import { newSeed, RecordSigner, signerOf, verifyRecord, verifyRecordAside } from './signature.ts';

// RFC 8032, 7.1, test 1
const seed = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex');
const publicKey = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
const scope = { repositoryId: '0a', objectKey: 'log/0000000001' };

test('the public key is that of the standard', () => {
  assert.equal(new RecordSigner(seed).publicKey, publicKey);
});

test('the signature is over what the format says', () => {
  const text = new RecordSigner(seed).write({ seq: 1, name: 'ü"' }, scope);
  const key = createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const signed = Buffer.from(`prima-signed:1:0a:log/0000000001:{"seq":1,"name":"ü\\""}`);
  const signature = sign(null, signed, key).toString('hex');
  assert.equal(text, `{"seq":1,"name":"ü\\"","signature":"${signature}"}`);
});

test('only the record as it was written, where it was written, by one of the signers verifies', async () => {
  const other = new RecordSigner(newSeed()).publicKey;
  const text = new RecordSigner(seed).write({ seq: 1 }, scope);
  assert.equal(signerOf(text, scope, [publicKey, other]), publicKey);
  assert.equal(signerOf(text, scope, [other]), undefined);
  assert.equal(signerOf(text, scope, []), undefined);
  for (const signers of [[publicKey], [publicKey, other], [other, publicKey]])
    await verifyRecordAside(text, scope, signers);
  await assert.rejects(verifyRecordAside(text, scope, [other]), { code: 'integrity' });
  assert.equal(signerOf(text, { ...scope, objectKey: 'log/0000000002' }, [publicKey]), undefined);
  assert.equal(signerOf(text, { ...scope, repositoryId: '0b' }, [publicKey]), undefined);
  const changes = [
    text.replace('1', '2'),
    `${text} `,
    `{"a":1,${text.slice(1)}`,
    '{"seq":1}',
    '',
    text.toUpperCase(),
  ];
  for (const changed of changes) {
    assert.throws(() => verifyRecord(changed, scope, [publicKey]), { code: 'integrity' }, changed);
    await assert.rejects(verifyRecordAside(changed, scope, [publicKey]), { code: 'integrity' }, changed);
  }
});
