/** What a server says at its start when something is not as it was left. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import { startServer } from '@prima/server';
import { temporaryFolder } from '@prima/testbed';
import { administrator, serverWorld } from './server-fixture.ts';

test('a key that the secrets were not sealed with is said at once', async (t) => {
  const world = await serverWorld(t);
  await (await administrator(world)).call('addRepository', {
    body: {
      name: 'main',
      url: join(await temporaryFolder(t), 'repository'),
      passphrase: 'correct horse',
      create: true,
    },
  });
  const path = join(world.home, 'server.key');
  const key = await readFile(path);
  const complaints = () => world.said.filter((line) => line.startsWith('error') && line.includes(path));

  await writeFile(path, `${randomBytes(32).toString('hex')}\n`);
  await world.restart();
  assert.equal(complaints().length, 1, world.said.join('\n'));
  assert.match(complaints()[0] ?? '', /put back/);

  await writeFile(path, key);
  await world.restart();
  assert.equal(complaints().length, 1, 'the right key is not complained of');
});

test('an address that is taken, or is none of this computer', async (t) => {
  const { server } = await serverWorld(t);
  const home = await temporaryFolder(t);
  const listen = new URL(server.url).host;
  const start = (where: string) => startServer({ home, listen: where, plain: true, logger: silentLogger });
  await assert.rejects(start(listen), { code: 'busy', message: /another program listens.*--listen/ });
  await assert.rejects(startServer({ home, listen: '203.0.113.7:8750', logger: silentLogger }), {
    code: 'usage',
    message: /no address of this computer/,
  });
});
