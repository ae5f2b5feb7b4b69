import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrimaError } from '@prima/base';
import { type SnapFront, translate } from './vmsnap.ts';

const said: [SnapFront, string, string][] = [
  ['vmsnap', '-c /m/web01.vmx -d /out', 'machine export /m/web01.vmx --to /out --method redo'],
  ['vmsnap', 'lab/a lab/b -f -d /out', 'machine export lab/a lab/b --to /out --method redo --force'],
  ['vmsnap_all', '-d /out', 'machine export --running --to /out --method redo'],
  ['vmres', '-H lab -d /out web01', 'machine import lab /out/web01/web01.vmx'],
  [
    'vmres',
    '-H lab -d /out web01 -n web02 -s',
    'machine import lab /out/web01/web01.vmx --name web02 --start',
  ],
];

for (const [front, line, prima] of said) {
  test(`${front} ${line}`, () => {
    assert.equal(translate(front, line.split(' ')).argv.join(' '), prima);
  });
}

test('a log is named', () => {
  assert.equal(translate('vmsnap_all', ['-d', '/out', '-l', '/var/log/x']).log, '/var/log/x');
});

const refused: [SnapFront, string, string, RegExp][] = [
  ['vmsnap', '-d /out', 'usage', /name a machine/],
  ['vmsnap', '-c a.vmx', 'usage', /name the folder/],
  ['vmsnap', '-c a.vmx -R server:/dir', 'unsupported', /prima backup/],
  ['vmsnap', '-c a.vmx -d', 'usage', /-d needs a value/],
  ['vmsnap_all', '-d /out lab/a', 'usage', /use vmsnap/],
  ['vmres', '-d /out web01', 'usage', /host/],
  ['vmres', '-H lab -d /out web01 --fast', 'usage', /no option --fast/],
  ['vmres', '-H lab -d /out', 'usage', /one machine/],
  ['vmres', '', 'usage', /usage: vmres/],
];

for (const [front, line, code, text] of refused) {
  test(`${front} ${line} is refused`, () => {
    assert.throws(
      () => translate(front, line === '' ? [] : line.split(' ')),
      (error: PrimaError) => error.code === code && text.test(error.message),
    );
  });
}
