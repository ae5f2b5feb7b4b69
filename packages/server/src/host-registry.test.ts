import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { HostDto } from '@prima/api';
import { openHome } from './home.ts';
import { HostRegistry } from './host-registry.ts';

async function setUp() {
  const path = await mkdtemp(join(tmpdir(), 'prima-hosts-'));
  for (const name of ['a', 'b']) await mkdir(join(path, name));
  const home = await openHome(join(path, 'state/home'));
  const host = (name: string, folder = name): HostDto => ({
    name,
    platform: 'qemu',
    location: join(path, folder),
  });
  return {
    path,
    home,
    host,
    hosts: new HostRegistry(home.hosts),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true }),
  };
}

test('hosts are added, found and removed; the home is closed to others', async () => {
  await using at = await setUp();
  assert.deepEqual(await at.hosts.list(), []);
  await at.hosts.add(at.host('b'));
  await at.hosts.add(at.host('a'));
  assert.deepEqual(await new HostRegistry(at.home.hosts).list(), [at.host('a'), at.host('b')]);
  assert.deepEqual(await at.hosts.get('a'), at.host('a'));
  await at.hosts.remove('a');
  await assert.rejects(at.hosts.get('a'), { code: 'not-found', message: /there are: b/ });
  await assert.rejects(at.hosts.remove('a'), { code: 'not-found' });
  assert.equal((await stat(at.home.folder)).mode & 0o777, 0o700);
  assert.equal((await stat(at.home.hosts)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(at.home.folder), ['hosts.json']);
});

test('what cannot be a host is refused', async () => {
  await using at = await setUp();
  await at.hosts.add(at.host('a'));
  await symlink(join(at.path, 'a'), join(at.path, 'same'));
  await writeFile(join(at.path, 'file'), '');
  const refused: [HostDto, string][] = [
    [at.host('a', 'b'), 'exists'],
    [at.host('c', 'same'), 'exists'],
    [at.host('c', 'nowhere'), 'not-found'],
    [at.host('c', 'file'), 'usage'],
    [at.host('../c', 'b'), 'usage'],
    [at.host('', 'b'), 'usage'],
    [{ ...at.host('c', 'b'), platform: 'esx' as 'qemu' }, 'unsupported'],
    [{ ...at.host('c'), location: '' }, 'usage'],
  ];
  for (const [host, code] of refused)
    await assert.rejects(at.hosts.add(host), { code }, JSON.stringify(host));
  assert.equal((await at.hosts.list()).length, 1);
});

test('a damaged file is said and left as it is', async () => {
  await using at = await setUp();
  const contents: [string, string][] = [
    ['{"version": 1, "hos', 'format'],
    ['null', 'format'],
    ['{"version": 1}', 'format'],
    ['{"version": 1, "hosts": [{"name": "a"}]}', 'format'],
    ['{"version": 1, "hosts": [null]}', 'format'],
    ['{"version": 2, "hosts": []}', 'newer-version'],
  ];
  for (const [text, code] of contents) {
    await writeFile(at.home.hosts, text);
    await assert.rejects(at.hosts.list(), { code, message: /hosts\.json/ }, text);
    await assert.rejects(at.hosts.add(at.host('a')), { code }, text);
    assert.equal(await readFile(at.home.hosts, 'utf8'), text);
  }
});

test('two that add at once lose nothing', async () => {
  await using at = await setUp();
  const add = (name: string) => new HostRegistry(at.home.hosts).add(at.host(name));
  await Promise.all([add('a'), add('b')]);
  assert.equal((await at.hosts.list()).length, 2);
});
