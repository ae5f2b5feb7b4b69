/** People: the first link, signing in, second factors, tokens, organisations, and what is written down of it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ApiError, resourceClient } from '@prima/api/http';
import { TOTP } from 'otpauth';
import { administrator, password, serverWorld, Visitor } from './server-fixture.ts';

const refused = (code: string) => (error: ApiError) => error.problem.code === code;

test('from the first link to a token', async (t) => {
  const world = await serverWorld(t);
  const { server } = world;
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  const stranger = new Visitor(server.url);
  await assert.rejects(stranger.call('getSession'), refused('unauthorized'));

  const admin = await administrator(world);
  await assert.rejects(stranger.useLink(server.firstLink ?? '', 'again'), refused('not-found'));
  assert.equal((await admin.call('getSession')).user.name, 'admin');
  assert.equal((await world.restart()).firstLink, undefined);
  const back = new Visitor(world.server.url);
  await assert.rejects(
    back.call('signIn', { body: { name: 'admin', password: 'wrong' } }),
    refused('unauthorized'),
  );
  await back.signIn('admin');

  await t.test('a change without the session’s csrf is refused', async () => {
    const { cookie } = back.headers;
    const send = resourceClient({ origin: world.server.url, headers: () => ({ cookie }) });
    assert.equal((await send('listUsers')).items.length, 1);
    await assert.rejects(send('createOrganisation', { body: { name: 'x' } }), refused('forbidden'));
  });

  await t.test('a second factor', async () => {
    const { secret } = await back.call('beginTotp');
    const code = (later = 0) =>
      new TOTP({ secret, timestamp: undefined } as never).generate({ timestamp: Date.now() + later });
    await assert.rejects(back.call('confirmTotp', { body: { code: '000000' } }), refused('usage'));
    await back.call('confirmTotp', { body: { code: code() } });
    const other = new Visitor(world.server.url);
    const body = { name: 'admin', password };
    assert.deepEqual(await other.call('signIn', { body }), { needsCode: true });
    await assert.rejects(other.call('signIn', { body: { ...body, code: code() } }), refused('unauthorized')); // used
    const signed = await other.call('signIn', { body: { ...body, code: code(30_000) } });
    assert.ok('user' in signed && signed.user.hasTotp);
  });

  await t.test('a token may what it was given, as long as its owner may', async () => {
    const made = await back.call('createToken', { body: { name: 'reader', roles: ['viewer'], days: 1 } });
    const bearer = resourceClient({
      origin: world.server.url,
      headers: () => ({ authorization: `Bearer ${made.secret}` }),
    });
    assert.deepEqual((await bearer('listPolicies')).items, []);
    await assert.rejects(bearer('listUsers'), refused('forbidden'));
    await back.call('removeToken', { path: { id: made.id } });
    await assert.rejects(bearer('listPolicies'), refused('unauthorized'));
    assert.doesNotMatch(await readFile(join(world.home, 'server.sqlite'), 'latin1'), new RegExp(made.secret));
  });

  await t.test('one sees where one is signed in, and ends what should not be', async () => {
    const [phone, lost] = [new Visitor(world.server.url), new Visitor(world.server.url)];
    const { path } = await back.call('inviteUser', { body: { roles: ['viewer'] } });
    await phone.useLink(path, 'jo');
    await lost.signIn('jo');
    const { items } = await phone.call('listSessions');
    assert.deepEqual([items.length, items.filter(({ isThis }) => isThis).length], [2, 1]);
    assert.ok(items.every(({ address, agent }) => address === '127.0.0.1' && agent !== ''));
    const other = items.find(({ isThis }) => !isThis)?.id ?? '';
    await assert.rejects(back.call('endSession', { path: { id: other } }), refused('not-found')); // not one's own
    await phone.call('endSession', { path: { id: other } });
    await assert.rejects(lost.call('getSession'), refused('unauthorized'));
    await lost.signIn('jo');
    await phone.call('endOtherSessions');
    await assert.rejects(lost.call('getSession'), refused('unauthorized'));
    await lost.signIn('jo');
    await phone.call('changePassword', { body: { old: password, password: `${password} anew` } });
    await assert.rejects(lost.call('getSession'), refused('unauthorized'));
    assert.equal((await phone.call('listSessions')).items.length, 1);
  });

  await t.test('administrators see who is locked out, and a new link ends it', async () => {
    const wrong = () =>
      new Visitor(world.server.url).call('signIn', { body: { name: 'jo', password: 'not this one' } });
    for (let attempt = 0; attempt < 8; attempt += 1) await assert.rejects(wrong(), refused('unauthorized'));
    await assert.rejects(wrong(), refused('too-many'));
    const find = async () => (await back.call('listUsers')).items.find(({ name }) => name === 'jo');
    const jo = await find();
    assert.ok(jo?.lockedUntil && jo.lockedUntil > new Date().toISOString());
    const { path } = await back.call('resetUser', { path: { id: jo.id } });
    assert.equal((await find())?.lockedUntil, undefined);
    await new Visitor(world.server.url).useLink(path, 'jo');
  });

  await t.test('many wrong passwords', async () => {
    for (let attempt = 0; attempt < 8; attempt += 1)
      await assert.rejects(guess(world.server.url), refused('unauthorized'));
    await assert.rejects(guess(world.server.url), refused('too-many'));
  });

  await t.test('all of it is in the audit log, whose chain is whole', async () => {
    const { items } = await back.call('listAudit', { query: { limit: 500 } });
    const said = items.map(({ action, outcome }) => `${action} ${outcome}`);
    for (const wanted of ['useLink done', 'signIn refused', 'createToken done', 'removeToken done'])
      assert.ok(said.includes(wanted), wanted);
    assert.ok(!JSON.stringify(items).includes(password));
    const { isWhole, entries } = await back.call('verifyAudit');
    assert.ok(isWhole && entries >= items.length);
  });
});

const guess = (url: string) =>
  new Visitor(url).call('signIn', { body: { name: 'nobody', password: 'not this one' } });
