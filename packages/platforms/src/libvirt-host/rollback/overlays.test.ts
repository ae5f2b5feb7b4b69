import assert from 'node:assert/strict';
import { test } from 'node:test';
import { overlayPath, parseRollbackNote, type RollbackNote } from './note.ts';
import { commitIsReady, placeOf, snapshotXml, switchedXml, withoutRollback } from './overlays.ts';

const vda = {
  target: 'vda',
  base: '/disks/web.raw',
  format: 'raw',
  overlay: overlayPath('/disks/web.raw', '1a2b3c4d', 'vda'),
};

const xml = (file: string, type: string, more = '') =>
  `<domain><name>web</name><metadata><r:rollback xmlns:r='urn:prima:rollback:1'>{}</r:rollback></metadata><devices><disk type='file' device='disk'><driver name='qemu' type='${type}'/><source file='${file}'/>${more}<target dev='vda'/></disk></devices></domain>`;

test('a disk is moved to its overlay and back, with its format', () => {
  assert.equal(vda.overlay, '/disks/prima-rollback-1a2b3c4d-vda.qcow2');
  const before = xml(vda.base, 'raw');
  assert.equal(placeOf(before, vda), 'base');
  const over = switchedXml(before, [vda], 'overlay');
  assert.equal(placeOf(over, vda), 'overlay');
  assert.match(over, /type='qcow2'/);
  assert.equal(switchedXml(over, [vda], 'base'), before);
  const other = xml('/elsewhere', 'qcow2');
  assert.deepEqual([placeOf(other, vda), switchedXml(other, [vda], 'base')], ['elsewhere', other]);
  assert.equal(placeOf('<domain><devices/></domain>', vda), 'gone');
});

test('a point has neither overlay nor note', () => {
  const chain = `<backingStore type='file'><format type='raw'/><source file='${vda.base}'/></backingStore>`;
  const clean = withoutRollback(xml(vda.overlay, 'qcow2', chain), [vda]);
  assert.doesNotMatch(clean, /rollback|backingStore|metadata/);
  assert.equal(placeOf(clean, vda), 'base');
});

test('disks that have no overlay are named in the snapshot', () => {
  assert.equal(
    snapshotXml([vda], ['sda']).replaceAll(/\n */g, ''),
    `<domainsnapshot><disks><disk name='vda' snapshot='external' type='file'><driver type='qcow2'/><source file='${vda.overlay}'/></disk><disk name='sda' snapshot='no'/></disks></domainsnapshot>`,
  );
  assert.equal(commitIsReady(xml(vda.overlay, 'qcow2', "<mirror ready='yes'/>"), 'vda'), true);
  assert.equal(commitIsReady(xml(vda.overlay, 'qcow2', '<mirror/>'), 'vda'), false);
});

test('a note that names other files than Prima would is not believed: they would be removed', () => {
  const note: RollbackNote = {
    version: 1,
    id: '1a2b3c4d',
    machine: 'uuid',
    made: '2026-03-04T12:30:05.000Z',
    phase: 'open',
    quiesced: false,
    disks: [vda],
    nvram: { path: '/n/web.fd', copy: '/n/web.fd.prima-rollback-1a2b3c4d' },
  };
  const parse = (value: object) => parseRollbackNote(JSON.stringify({ ...note, ...value }), 'web');
  assert.deepEqual(parse({}), note);
  for (const value of [
    { disks: [{ ...vda, overlay: '/etc/passwd' }] },
    { disks: [{ ...vda, base: 7 }] },
    { disks: [null] },
    { disks: 'vda' },
    { nvram: { path: '/n/web.fd', copy: '/etc/passwd' } },
    { id: '../../etc' },
    { phase: 'done' },
  ])
    assert.throws(() => parse(value), { code: 'format' }, JSON.stringify(value));
  assert.throws(() => parse({ version: 2 }), { code: 'newer-version' });
  for (const text of ['', 'null', '[]', '7'])
    assert.throws(() => parseRollbackNote(text, 'web'), { code: 'format' });
});
