import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCodes } from './errors.ts';

/** The rows of the table in docs/errors.md, by code. */
function documented(): Record<string, { exit: number; http: number; summary: string }> {
  const document = readFileSync(join(import.meta.dirname, '../../../docs/errors.md'), 'utf8');
  const rows = document.split('\n').flatMap((line) => {
    const [, code, exit, http, summary] =
      /^\| `([^`]+)` \| (\d+) \| (\d+) \| (.+?) \| .+ \|$/.exec(line) ?? [];
    return code === undefined
      ? []
      : [[code, { exit: Number(exit), http: Number(http), summary: summary ?? '' }] as const];
  });
  assert.equal(new Set(rows.map(([code]) => code)).size, rows.length, 'no code is documented twice');
  return Object.fromEntries(rows);
}

test('docs/errors.md lists every code with its statuses and meaning', () => {
  const found = documented();
  for (const [code, meaning] of Object.entries(errorCodes)) {
    assert.deepEqual(found[code], meaning, `docs/errors.md, row ${code}`);
  }
});

test('docs/errors.md lists no code that is not there', () => {
  const codes: Readonly<Record<string, unknown>> = errorCodes;
  for (const code of Object.keys(documented())) {
    assert.ok(code in codes, `docs/errors.md documents ${code}, which errorCodes does not have`);
  }
});

test('exit statuses are ones that a shell can tell apart from its own', () => {
  for (const [code, { exit, http }] of Object.entries(errorCodes)) {
    assert.ok((exit >= 2 && exit < 126) || exit === 130, `${code}: exit ${exit}`);
    assert.ok(http >= 400 && http < 600, `${code}: http ${http}`);
  }
});
