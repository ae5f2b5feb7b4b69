import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepared, Scram } from './scram.ts';

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
const credentials = { username: 'user', password: 'pencil' };

/** The conversations that the specifications print. */
const examples = [
  {
    hash: 'sha1', // RFC 5802, section 5
    nonce: 'fyko+d2lbbFgONRv9qkxdawL',
    serverFirst: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    clientFinal: 'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    serverFinal: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    hash: 'sha256', // RFC 7677, section 3
    nonce: 'rOprNGfwEbeRWgbNEkqO',
    serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    clientFinal:
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
] as const;

for (const { hash, nonce, serverFirst, clientFinal, serverFinal } of examples) {
  test(`the conversation of the specification, with ${hash}`, async () => {
    const scram = new Scram(hash, credentials, nonce);
    assert.equal(text(scram.start()), `n,,n=user,r=${nonce}`);
    assert.equal(text(await scram.step(Buffer.from(serverFirst))), clientFinal);
    assert.equal(scram.isDone, false);
    assert.equal(await scram.step(Buffer.from(serverFinal)), undefined);
    assert.equal(scram.isDone, true);
  });

  test(`a server that does not know the password is refused, with ${hash}`, async () => {
    for (const final of [serverFinal.replace('v=r', 'v=s').replace('v=6', 'v=7'), 'v=', '', 'v=AAAA']) {
      const scram = new Scram(hash, credentials, nonce);
      await scram.step(Buffer.from(serverFirst));
      await assert.rejects(scram.step(Buffer.from(final)), { code: 'refused' });
      assert.equal(scram.isDone, false);
    }
  });
}

test('the server says no', async () => {
  const { nonce, serverFirst } = examples[0];
  const scram = new Scram('sha1', credentials, nonce);
  await scram.step(Buffer.from(serverFirst));
  await assert.rejects(scram.step(Buffer.from('e=invalid-proof')), { code: 'permission' });
});

test('an answer that is none, or too cheap or dear, is refused before the password is used', async () => {
  const bad = [
    ['r=other3,s=QSXCR+Q6sek8bf92,i=4096', 'protocol'],
    ['r=mine,s=QSXCR+Q6sek8bf92,i=4096', 'protocol'],
    ['r=mine3,s=,i=4096', 'protocol'],
    ['', 'protocol'],
    ['r=mine3,s=QSXCR+Q6sek8bf92,i=1', 'refused'],
    ['r=mine3,s=QSXCR+Q6sek8bf92,i=99999999', 'refused'],
    ['r=mine3,s=QSXCR+Q6sek8bf92,i=4096x', 'refused'],
  ];
  for (const [message = '', code] of bad) {
    await assert.rejects(
      new Scram('sha1', credentials, 'mine').step(Buffer.from(message)),
      { code },
      message,
    );
  }
});

test('names are written so that the server can take them apart, and prepared', () => {
  const scram = new Scram('sha1', { username: 'a=b,c', password: '' }, 'N');
  assert.equal(text(scram.start()), 'n,,n=a=3Db=2Cc,r=N');
  // RFC 4013, section 3
  assert.equal(prepared('I\u00ADX'), 'IX');
  assert.equal(prepared('\u00AA'), 'a');
  assert.equal(prepared('\u2168'), 'IX');
  assert.throws(() => prepared('\u0007'), { code: 'usage' });
});
