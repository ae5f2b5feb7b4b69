import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseSource } from './parse-source.ts';

test('every kind of source is told apart', async (t) => {
  const path = await mkdtemp(join(tmpdir(), 'prima-source-'));
  t.after(() => rm(path, { recursive: true }));
  const before = process.cwd();
  process.chdir(path);
  t.after(() => process.chdir(before));
  await mkdir('host/web01', { recursive: true });
  await mkdir('lab/web01', { recursive: true });
  await mkdir('two');
  await mkdir('none');
  for (const name of ['host/web01/web01.vmx', 'lab/web01/web01.VMX', 'two/a.vmx', 'two/b.vmx', 'disk.raw']) {
    await writeFile(name, '');
  }
  const hosts = [
    { name: 'lab', location: join(path, 'host') },
    { name: 'gone', location: '/nowhere/at/all' },
  ];
  const kinds: [string, object][] = [
    ['disk.raw', { kind: 'disk-file', path: join(path, 'disk.raw') }],
    [
      './lab/web01',
      { kind: 'folder', folder: join(path, 'lab/web01'), vmx: join(path, 'lab/web01/web01.VMX') },
    ],
    [
      './lab/web01/web01.VMX',
      { kind: 'folder', folder: join(path, 'lab/web01'), vmx: join(path, 'lab/web01/web01.VMX') },
    ],
    ['lab/db01', { kind: 'machine', host: 'lab', machine: 'db01' }],
    ['nbd://h:1/x', { kind: 'nbd', text: 'nbd://h:1/x' }],
    ['nbd+unix:///x?socket=/s', { kind: 'nbd', text: 'nbd+unix:///x?socket=/s' }],
  ];
  for (const [text, expected] of kinds) {
    const { notes, ...source } = await parseSource(text, hosts);
    assert.partialDeepStrictEqual(source, expected, text);
    assert.deepEqual(notes, [], text);
  }
  const both = await parseSource('lab/web01', hosts);
  assert.partialDeepStrictEqual(both, { kind: 'machine', host: 'lab', machine: 'web01' });
  assert.match(both.notes.join(), /write \.\/lab\/web01/);
  const own = await parseSource('host/web01/web01.vmx', hosts);
  assert.partialDeepStrictEqual(own, { kind: 'machine', host: 'lab', machine: 'web01' });
  const refused: [string, string, RegExp][] = [
    ['', 'usage', /empty/],
    ['two', 'ambiguous', /a\.vmx, b\.vmx/],
    ['none', 'not-found', /no \.vmx/],
    ['nobody/web01', 'not-found', /no host "nobody": lab, gone/],
    ['absent.raw', 'not-found', /does not exist/],
    ['nbd+unix:///x', 'usage', /socket=PATH/],
  ];
  for (const [text, code, message] of refused) {
    await assert.rejects(parseSource(text, hosts), { code, message }, text);
  }
});
