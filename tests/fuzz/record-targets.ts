/** Small files and answers: which device a mapping means, who a device is, which redo logs a disk has. */
import assert from 'node:assert/strict';
import {
  identitiesOfPage80,
  identitiesOfPage83,
  isSameLun,
  parseMapping,
  parseRedoRecord,
  serialIdentity,
  writeMapping,
} from '@prima/formats';
import { parseIscsiUrl } from '@prima/qemu';
import { mutate } from '@prima/testbed';
import type { FuzzTarget } from './targets.ts';

const mapping = writeMapping({
  version: 1,
  device: 'iscsi://san1:3260/iqn.2026-01.example:disk1/3',
  size: 8 * 2 ** 20,
  identities: ['naa.600140512345678', 't10.LIO-ORG disk1', 'serial.LAB0001'],
});

const redoName = '/d/a.raw.redo.json';
const redoRecord = JSON.stringify({
  version: 1,
  disk: 'a.raw',
  kind: 'qcow2',
  logs: [
    { id: '01234567', files: ['a.raw.REDO', 'a.raw.REDO.tmp'], purpose: 'mode', mode: 'undoable', made: 'x' },
    { id: '89abcdef', files: ['a.raw.REDO.REDO'], purpose: 'backup', made: 'y', owner: { pid: 1, start: 2 } },
  ],
  doing: { do: 'commit', id: '01234567' },
});

/** Vital product data: two designators, and a serial number. */
const pages = [
  Buffer.from(
    '\0\x83\0\x1c\x01\x03\0\x08\x60\x01\x40\x51\x23\x45\x67\x80\x02\x01\0\x0cLIO-ORG disk',
    'latin1',
  ),
  Buffer.from('\0\x80\0\x0a   LAB0001', 'latin1'),
];

const originals = (texts: readonly (string | Buffer)[]) => texts.map((text) => Buffer.from(text));

function changed(texts: readonly (string | Buffer)[], read: (input: Buffer) => void): FuzzTarget {
  const all = originals(texts);
  return { input: (random) => mutate(random, all[random.below(all.length)] ?? Buffer.alloc(0), all), read };
}

export const recordTargets: Readonly<Record<string, () => FuzzTarget>> = {
  'rdm-mapping': () =>
    changed([mapping], (input) => {
      const read = parseMapping(input.toString(), 'x');
      assert.deepEqual(parseMapping(writeMapping(read), 'x'), read);
      assert.ok(Number.isSafeInteger(read.size) && read.size > 0);
      parseIscsiUrl(read.device);
    }),
  'redo-record': () =>
    changed([redoRecord], (input) => {
      const { logs, doing } = parseRedoRecord(input.toString(), redoName);
      const files = [...logs, ...(doing?.do === 'add' ? [doing.log] : [])].flatMap((log) => log.files);
      for (const file of files) assert.doesNotMatch(file, /[/\0]/);
    }),
  'scsi-pages': () =>
    changed(pages, (input) => {
      const names = [...identitiesOfPage83(input), ...identitiesOfPage80(input)];
      assert.ok(names.every((name) => /^[a-z0-9]+\.[\x20-\x7e]+$/.test(name)));
      assert.equal(isSameLun(names, names), names.length > 0);
      serialIdentity(input.toString('latin1'));
    }),
};
