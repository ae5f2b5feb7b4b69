import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  backupXml,
  checkpointXml,
  isOfRun,
  knownCheckpointXml,
  parseBackup,
  parseCheckpoint,
} from './backup-xml.ts';
import { scratchLimit } from './plan.ts';
import { socketPaths } from './reach.ts';
import { standInXml } from './stand-in.ts';
import { parseDomain } from './domain.ts';
import {
  checkpointPrefix,
  diskOfRefusal,
  type LibvirtCheckpoint,
  newCheckpointName,
  whyNotTracked,
} from './tracking.ts';

const disk = { slot: 'vda', path: '/a', chain: ['/a'], format: 'qcow2', size: 1024 };

function checkpoint(changes: Partial<LibvirtCheckpoint['disks'][number]> = {}): LibvirtCheckpoint {
  return { platform: 'libvirt', version: 1, name: 'n', disks: [{ ...disk, tracked: true, ...changes }] };
}

test('a disk is tracked only when nothing speaks against it', () => {
  assert.equal(whyNotTracked(disk, checkpoint(), false), undefined);
  assert.equal(
    whyNotTracked({ ...disk, path: '/overlay', chain: ['/overlay', '/a'] }, checkpoint(), false),
    undefined,
  );
  const onOverlay = checkpoint({ path: '/overlay', chain: ['/overlay', '/a'] });
  assert.equal(whyNotTracked(disk, onOverlay, false), undefined, 'committed');
  const reasons: [string | undefined, RegExp][] = [
    [whyNotTracked(disk, checkpoint(), true), /asked for/],
    [whyNotTracked(disk, undefined, false), /no earlier point/],
    [whyNotTracked(disk, { platform: 'qemu', version: 1 }, false), /another kind of host/],
    [whyNotTracked({ ...disk, slot: 'vdb' }, checkpoint(), false), /was added/],
    [whyNotTracked({ ...disk, format: 'raw' }, checkpoint(), false), /keeps no change bitmap/],
    [whyNotTracked(disk, checkpoint({ tracked: false }), false), /no changes were tracked/],
    [whyNotTracked(disk, checkpoint({ format: 'raw' }), false), /format was raw/],
    [whyNotTracked({ ...disk, path: '/b', chain: ['/b', '/base'] }, onOverlay, false), /it was \/overlay/],
    [whyNotTracked(disk, checkpoint({ size: 512 }), false), /resized, from 512 to 1024/],
  ];
  for (const [why, pattern] of reasons) assert.match(why ?? '', pattern);
});

test('names are of one repository and never used twice', () => {
  const name = newCheckpointName('a');
  assert.ok(name.startsWith(checkpointPrefix('a')));
  assert.ok(!name.startsWith(checkpointPrefix('b')));
  assert.notEqual(newCheckpointName('a'), name);
});

test('the disk that libvirt names is found', () => {
  const text = "checkpoint inconsistent: missing or broken bitmap 'prima-1' for disk 'vda'";
  assert.equal(diskOfRefusal(text), 'vda');
  assert.equal(diskOfRefusal('no space left'), undefined);
});

test('the XML of a job says what was asked for', () => {
  const disks = [
    { target: 'vda', since: 'old', scratch: '/s/a&b' },
    { target: 'vdb', scratch: '/s/b' },
  ];
  const xml = backupXml({ transport: 'unix', socket: '/run/n' }, disks, ['vdc']);
  assert.match(xml, /<server transport='unix' socket='\/run\/n'\/>/);
  assert.match(xml, /backupmode='incremental' incremental='old' exportbitmap='prima-vda'/);
  assert.match(xml, /<disk name='vdc' backup='no'\/>/);
  assert.deepEqual(parseBackup(xml), {
    disks: [
      { target: 'vda', scratch: '/s/a&b', bitmap: 'prima-vda' },
      { target: 'vdb', scratch: '/s/b' },
      { target: 'vdc' },
    ],
  });
  const encrypted = backupXml({ transport: 'tls', address: '::1', port: 10_810 }, disks, []);
  assert.match(encrypted, /<server transport='tcp' tls='yes' name='::1' port='10810'\/>/);
  const ours = { disks: [{ target: 'vda', scratch: '/s/prima-1234-vda.qcow2' }] };
  assert.deepEqual([isOfRun(ours, '1234'), isOfRun(ours, '123')], [true, false]);
  assert.deepEqual(parseCheckpoint(checkpointXml('n', ['vda'], ['vdb'])), {
    name: 'n',
    made: 0,
    tracked: ['vda'],
  });
  const known = { name: 'n', parent: 'm', tracked: ['vda'], made: 77 };
  assert.deepEqual(parseCheckpoint(knownCheckpointXml(known)), known);
});

test('scratch space is bounded by what was told, the disks and the room', () => {
  const MiB = 1024 ** 2;
  const GiB = 1024 ** 3;
  assert.equal(scratchLimit(8 * GiB), 2 * GiB);
  assert.equal(scratchLimit(100 * MiB), 116 * MiB);
  assert.equal(scratchLimit(8 * GiB, 1 * GiB), 0.75 * GiB);
  assert.equal(scratchLimit(8 * GiB, 10 * GiB, 64 * MiB), 64 * MiB);
  assert.throws(() => scratchLimit(8 * GiB, 100_000), { code: 'no-space' });
});

test("a run's folder has the name as libvirt cuts it", () => {
  const paths = (name: string) => socketPaths('/q', { id: 3, name, uuid: '' }, 's');
  assert.deepEqual(paths('web'), ['/q/domain-3-web/s']);
  assert.deepEqual(paths('a'.repeat(30)), [`/q/domain-3-${'a'.repeat(20)}/s`]);
  assert.deepEqual(paths('é'.repeat(30)), [
    `/q/domain-3-${'é'.repeat(20)}/s`,
    `/q/domain-3-${'é'.repeat(10)}/s`,
  ]);
  assert.deepEqual(paths(`a${'é'.repeat(30)}`), [`/q/domain-3-a${'é'.repeat(19)}/s`]);
});

test('a stand-in has the disks and nothing else', () => {
  const template = parseDomain(
    `<domain type='kvm'><name>web</name><uuid>44e102bb-7307-445f-ae38-843c6accb1c3</uuid><os><type arch='x86_64' machine='q35'>hvm</type></os>
<seclabel type='dynamic' model='apparmor'/><devices><emulator>/q</emulator>
<disk type='file' device='disk' snapshot='no'><driver name='qemu' type='qcow2' iothread='1' cache='none'/><source file='/a'/><target dev='sda' bus='scsi'/><serial>s</serial><iotune/><boot order='1'/><address type='drive'/></disk>
<interface type='bridge'/><hostdev/></devices></domain>`,
    'web',
  );
  const xml = standInXml(template, template.disks, 'prima-x').replaceAll(/\n */g, '');
  assert.match(xml, /<seclabel type='dynamic' model='apparmor'\/>/);
  assert.match(
    xml,
    /<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'\/><source file='\/a'\/><target dev='sda' bus='virtio'\/><alias name='ua-sda'\/><\/disk>/,
  );
  assert.doesNotMatch(xml, /<interface|<hostdev|<serial|<iotune|<boot|<address/);
});
