import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseXml } from '@prima/xml';
import { parseDomain } from '../domain.ts';
import { diskElements } from '../domain.ts';
import type { RecoveryNote } from './note.ts';
import { diskNow, recoveringXml, settledXml } from './shape.ts';

const xml = `<domain type='kvm'>
  <name>web</name>
  <uuid>44e102bb-7307-445f-ae38-843c6accb1c3</uuid>
  <metadata><os:info xmlns:os='urn:os'>debian &amp; co</os:info></metadata>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' error_policy='report'/>
      <source file='/i/web.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/i/data-recovery.qcow2'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
  </devices>
</domain>
`;
const socket = '/var/lib/libvirt/qemu/prima-44e1/nbd';
const final = { xml: '<disk/>', path: '/i/data.raw', location: '/i/data.raw', isFile: true };
const note: RecoveryNote = {
  version: 1,
  repository: 'r',
  point: 'p <1>',
  socket,
  disks: [
    { target: 'vda', disk: 'vda', overlay: '/i/web.qcow2' },
    { target: 'vdb', disk: 'vdb', overlay: '/i/data-recovery.qcow2', final },
  ],
};

test('disks come from exports and stop at errors, and everything is as it was afterwards', () => {
  const recovering = recoveringXml(xml, note);
  const { document, disks } = parseDomain(recovering.xml, 'web');
  for (const [index, { element }] of disks.entries()) {
    const noted = recovering.note.disks[index];
    assert.ok(noted);
    const now = diskNow([element], noted, socket);
    assert.deepEqual(now, { needsExport: true, location: noted.overlay, copyIsReady: false });
    assert.equal(diskNow([element], noted, '/elsewhere')?.needsExport, false);
  }
  assert.equal(recovering.xml.match(/ error_policy='stop' rerror_policy='stop'/g)?.length, 2);
  assert.equal(recovering.note.disks[0]?.errorPolicy, 'report');
  assert.match(recovering.xml, /"point":"p &lt;1&gt;"/);
  assert.equal(diskElements(document).length, 2);
  const pulled = recovering.xml.replaceAll(
    /\s*<backingStore type=.*?<\/backingStore>(?!\s*<\/backing)/gs,
    '',
  );
  assert.equal(settledXml(pulled, recovering.note), xml);
});

test('a machine without metadata has none afterwards; a disk that was taken away is no trouble', () => {
  const plain = xml.replace(/ *<metadata>.*<\/metadata>\n/, '');
  const recovering = recoveringXml(plain, note);
  assert.doesNotMatch(settledXml(recovering.xml, recovering.note), /metadata/);
  const { root } = parseXml(recovering.xml, 'web');
  assert.equal(root.local, 'domain');
  assert.equal(
    diskNow([], recovering.note.disks[0] ?? { target: '', disk: '', overlay: '' }, socket),
    undefined,
  );
});
