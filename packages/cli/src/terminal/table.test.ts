import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Page, painter } from './style.ts';
import { type Column, facts, indent, table } from './table.ts';
import { displayWidth, pad, printable, shorten } from './width.ts';

test('width counts columns: wide characters two, combining ones none', () => {
  assert.equal(displayWidth('web01'), 5);
  assert.equal(displayWidth('größe'), 5);
  assert.equal(displayWidth('日本'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(displayWidth('🚀'), 2);
});

test('shorten cuts to the width with an ellipsis, never through a wide character', () => {
  assert.equal(shorten('machine', 7), 'machine');
  assert.equal(shorten('machine', 6), 'machi…');
  assert.equal(shorten('日本語', 5), '日本…');
  assert.equal(shorten('日本語', 4), '日…');
  assert.equal(shorten('machine', 1), '…');
  assert.equal(shorten('machine', 0), '');
});

test('pad fills up, and leaves what is longer', () => {
  assert.equal(pad('日', 4), '日  ');
  assert.equal(pad('7', 3, 'right'), '  7');
  assert.equal(pad('long', 2), 'long');
});

test('printable takes away what a terminal would obey', () => {
  assert.equal(printable('a\u001b[2Jb\nc\td\u009b'), 'a�[2Jb�c�d�');
  assert.equal(printable('a\nb', '\n'), 'a\nb');
});

interface Row {
  name: string;
  size: string;
  note: string;
}

const columns: readonly Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name, importance: 9 },
  { title: 'SIZE', value: (row) => row.size, align: 'right', importance: 5 },
  { title: 'NOTE', value: (row) => row.note, importance: 1 },
];
const rows: readonly Row[] = [
  { name: 'web01', size: '12.0 MiB', note: 'patched yesterday evening' },
  { name: 'database-primary', size: '9 B', note: '' },
];
const page = (width: number): Page => ({ width, paint: painter(false), now: 0 });

test('a table with room shows everything', () => {
  assert.equal(
    table(columns, rows, page(Infinity)),
    `NAME                  SIZE  NOTE
web01             12.0 MiB  patched yesterday evening
database-primary       9 B`,
  );
});

test('the least important column is shortened first, then left out; numbers are never cut', () => {
  assert.equal(
    table(columns, rows, page(40)),
    `NAME                  SIZE  NOTE
web01             12.0 MiB  patched yes…
database-primary       9 B`,
  );
  assert.equal(
    table(columns, rows, page(30)),
    `NAME            SIZE  NOTE
web01       12.0 MiB  patched…
database-…       9 B`,
  );
  assert.equal(table(columns, rows, page(12)), 'NAME\nweb01\ndatabase-pr…');
});

test('a table fits every width, and every line shows the first column', () => {
  for (let width = 1; width < 80; width += 1) {
    for (const line of table(columns, rows, page(width)).split('\n')) {
      assert.ok(displayWidth(line) <= Math.max(width, 8), `${width}: ${line}`);
    }
  }
});

test('a column that is empty in every row is left out', () => {
  assert.equal(table(columns, [{ name: 'a', size: '', note: '' }], page(80)), 'NAME\na');
});

test('facts align their labels and leave out what is not there', () => {
  const text = facts(
    [
      ['Id', 'x'],
      ['Machine', 'web01'],
      ['Name', undefined],
      ['Tags', ''],
    ],
    page(80),
  );
  assert.equal(text, 'Id       x\nMachine  web01');
  assert.equal(indent('a\n\nb'), '  a\n\n  b');
});
