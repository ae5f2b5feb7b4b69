/** The audit log is exported such that others verify it: with the program that docs/operating/audit.md gives them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AuditLine } from '@prima/api/http';
import { projectRoot } from '@prima/testbed';
import { administrator, serverWorld } from './server-fixture.ts';

/** More than are read from the database at once. */
const refusals = 1050;

async function documentedProgram(): Promise<string> {
  const text = await readFile(join(projectRoot, 'docs/operating/audit.md'), 'utf8');
  const [, program] = /```python\n([^]*?)```/.exec(text) ?? [];
  assert.ok(program);
  return program;
}

test('an export can be verified by whoever has it', async (t) => {
  const world = await serverWorld(t);
  const admin = await administrator(world);
  const odd = 'Größe "ä\\b" \u2028 \u0001\t\u007f 🜁';
  await admin.call('createOrganisation', { body: { name: odd } });
  const middle = new Date().toISOString();
  for (let count = 0; count < refusals; count += 1)
    await assert.rejects(admin.call('removeToken', { path: { id: 'none' } }));
  const program = await documentedProgram();
  const verify = (lines: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync('python3', ['-c', program], {
      input: lines.map((line) => `${line}\n`).join(''),
      encoding: 'utf8',
    });
    return status === 0 ? stdout.trim() : `refused: ${stderr.trim()}`;
  };
  const lines = async (query = '') => {
    const response = await fetch(`${world.server.url}/api/v1/audit/export${query}`, {
      headers: admin.headers,
    });
    assert.equal(response.headers.get('content-type'), 'application/jsonl');
    return (await response.text()).split('\n').filter(Boolean);
  };
  const read = (line: string | undefined) => JSON.parse(line ?? '') as AuditLine;
  const all = await lines();
  const { entries, head } = await admin.call('verifyAudit');

  await t.test('all of it is there, and whole', () => {
    assert.ok(entries > refusals);
    assert.equal(all.length, entries);
    assert.equal(verify(all), `whole, to ${entries} ${head}`);
    assert.ok(all.some((line) => read(line).target === odd));
    assert.deepEqual([read(all[0]).sequence, read(all[0]).before], [1, '']);
  });

  await t.test('a span follows what is before it', async () => {
    const [early, late] = [await lines(`?to=${middle}`), await lines(`?from=${middle}`)];
    assert.ok(early.length > 1 && late.length >= refusals);
    assert.deepEqual([...early, ...late], all);
    assert.match(verify(late), /^whole/);
    assert.equal(read(late[0]).before, read(early.at(-1)).hash);
    assert.deepEqual(await lines('?from=2999-01-01T00:00:00Z'), []);
  });

  await t.test('what is changed, left out or put elsewhere is seen', () => {
    const at = 5;
    const changed = (change: Partial<AuditLine>) =>
      all.map((line, index) => (index === at ? JSON.stringify({ ...read(line), ...change }) : line));
    for (const change of [
      { actor: 'mallory' },
      { target: 'something' },
      { details: '{}' },
      { time: new Date(0).toISOString() },
      { organisation: 'other' },
      { outcome: 'done' as const },
    ])
      assert.match(verify(changed(change)), /refused: line 6: the hash/, JSON.stringify(change));
    assert.match(verify(all.toSpliced(at, 1)), /refused: line 6: it does not follow/);
    const [one = '', other = ''] = all.slice(at, at + 2);
    assert.match(verify(all.toSpliced(at, 2, other, one)), /refused: line 6: it does not follow/);
  });

  await t.test('a time that is none is refused', async () => {
    const response = await fetch(`${world.server.url}/api/v1/audit/export?from=yesterday`, {
      headers: admin.headers,
    });
    assert.equal(response.status, 400);
  });
});
