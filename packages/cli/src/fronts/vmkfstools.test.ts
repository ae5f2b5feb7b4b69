import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { translateVmkfstools } from './vmkfstools.ts';

const cases: readonly [line: string, command: string][] = [
  ['-c 10g a.vmdk', 'disk create a.vmdk --size 10737418240 --format vmdk --kind vmfs'],
  [
    '-c 1048576 -d thin -a ide a.vmdk',
    'disk create a.vmdk --size 1048576 --format vmdk --kind vmfsThin --adapter ide',
  ],
  ['--createvirtualdisk 2048s a', 'disk create a --size 1048576 --format vmdk --kind vmfs'],
  ['-i a.vmdk -d 2gbsparse b.vmdk', 'disk clone a.vmdk b.vmdk --format vmdk --kind twoGbMaxExtentSparse'],
  [
    '-i a.vmdk b.vmdk -d eagerzeroedthick -N',
    'disk clone a.vmdk b.vmdk --format vmdk --kind vmfsEagerZeroedThick',
  ],
  ['-X 1024 a.vmdk', 'disk extend a.vmdk --size 1048576'],
  ['-X 20G -d eagerzeroedthick a.vmdk', 'disk extend a.vmdk --size 21474836480 --eager-zero'],
  ['-E a.vmdk b.vmdk', 'disk rename a.vmdk b.vmdk'],
  ['-U a.vmdk', 'disk delete a.vmdk --yes'],
  ['-j a.vmdk', 'disk inflate a.vmdk'],
  ['-k a.vmdk', 'disk inflate a.vmdk'],
  ['-K a.vmdk', 'disk punch a.vmdk'],
  ['-x check a.vmdk', 'disk check a.vmdk'],
  ['-x repair a.vmdk', 'disk repair a.vmdk --yes'],
  ['-e a.vmdk', 'disk check a.vmdk'],
  ['-e out.vmdk a.dsk', 'disk convert a.dsk out.vmdk --kind twoGbMaxExtentSparse'],
  ['-q a.vmdk', 'disk rdm query a.vmdk'],
  ['-r /dev/sdb a.vmdk', 'disk rdm create a.vmdk --device /dev/sdb --mode virtual'],
  ['-z /dev/sdb a.vmdk', 'disk rdm create a.vmdk --device /dev/sdb --mode physical'],
  ['-m a.vmdk', 'disk redo commit a.vmdk'],
  ['-P -h /vm', 'datastore show /vm'],
  ['-g a.vmdk', 'disk info a.vmdk'],
];

for (const [line, command] of cases) {
  test(`vmkfstools ${line}`, () => {
    assert.equal(translateVmkfstools(line.split(' ')).argv.join(' '), command);
  });
}

test('every other option is refused with what to use instead', () => {
  const lines =
    '-C vmfs6|-S x|-Z a|-G a|-T a|-y a|-F public|-s|-l a|-L reserve a|-D a|-B a|-W vsan|-w a|-M a|-i a -d rdm:/dev/x b';
  for (const line of lines.split('|')) {
    assert.throws(
      () => translateVmkfstools(line.split(' ')),
      (error) => error instanceof PrimaError && error.code === 'unsupported' && error.message.length > 40,
      line,
    );
  }
});

test('wrong usage says what is wrong', () => {
  const wrong: [string, RegExp][] = [
    ['-c x a', /"x" is no size/],
    ['-c 1g -d fat a', /"fat" is none of zeroedthick/],
    ['-c 1g', /name the file/],
    ['a.vmdk', /say what to do/],
    ['-x look a', /neither check nor repair/],
    ['-U vmhba0:0:0:5:a.vmdk', /by its path/],
    ['--nonsense', /nonsense/],
  ];
  for (const [line, message] of wrong)
    assert.throws(() => translateVmkfstools(line.split(' ')), message, line);
});
