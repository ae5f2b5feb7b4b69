import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, GiB, seededRandom } from '@prima/base';
import { writeXml, parseXml } from '@prima/xml';
import { assertCarried } from '../machine/carried-fixture.ts';
import { randomDescription } from '../machine/description-fixture.ts';
import { parseAllocationUnits } from './allocation-units.ts';
import { fromGuestId, toGuestId } from './ovf-names.ts';
import { ovirt, virtualBox, vmware } from './ovf-fixture.ts';
import { readOvf } from './read-ovf.ts';
import { writeOvf } from './write-ovf.ts';

test("VMware's envelopes are read", () => {
  const { result, notCarried } = readOvf(parseXml(vmware, 'x'));
  assert.deepEqual(result, {
    name: 'web',
    annotation: 'The first',
    guestOs: { vmware: 'debian11-64', cim: 96 },
    memoryBytes: 2 * GiB,
    cpus: { count: 4, topology: { sockets: 2, cores: 2, threads: 1 } },
    hardwareVersion: 17,
    firmware: { kind: 'uefi', secureBoot: true },
    scsiControllers: [{ index: 0, model: 'pvscsi' }],
    disks: [
      {
        slot: { bus: 'scsi', controller: 0, unit: 0 },
        source: { kind: 'file', location: 'web disk-1.vmdk' },
        format: 'vmdk',
        capacityBytes: 16 * GiB,
      },
      { slot: { bus: 'scsi', controller: 0, unit: 1 }, format: 'vmdk', capacityBytes: GiB },
    ],
    cdroms: [
      { slot: { bus: 'sata', controller: 0, unit: 0 }, source: { kind: 'file', location: 'debian.iso' } },
    ],
    nics: [{ model: 'vmxnet3', network: { kind: 'network', name: 'VM Network' } }],
    video: { memoryBytes: 4 * 1024 * 1024 },
    displays: [],
    serialPorts: [],
    resources: { cpu: { shares: 4000, reservationMhz: 500 } },
  });
  const places = notCarried.map(({ where }) => where.replace(/^Envelope\/VirtualSystem\//, ''));
  for (const place of [
    'ovf:ProductSection',
    'ovf:EulaSection',
    'Envelope/References/File/@ovf:compression',
    'vmw:Config tools.syncTimeWithHost',
  ]) {
    assert.ok(places.includes(place), `${place} in ${places.join(' ')}`);
  }
});

test('VirtualBox and oVirt say the same in other words', () => {
  const box = readOvf(parseXml(virtualBox, 'x')).result;
  assert.deepEqual(
    box.disks.map(({ slot, capacityBytes }) => [slot.bus, slot.controller, slot.unit, capacityBytes]),
    [['sata', 0, 0, 8 * GiB]],
  );
  assert.deepEqual(box.cdroms, [{ slot: { bus: 'ide', controller: 1, unit: 0 } }]);
  assert.deepEqual(box.nics, [{ model: 'e1000', network: { kind: 'network', name: 'NAT' } }]);
  const other = readOvf(parseXml(ovirt, 'x')).result;
  assert.equal(other.name, 'db');
  assert.equal(other.memoryBytes, GiB);
  assert.deepEqual(other.disks, [
    {
      slot: { bus: 'virtio', controller: 0, unit: 0 },
      source: { kind: 'file', location: 'g1/v1' },
      format: 'qcow2',
      capacityBytes: 5 * GiB,
    },
  ]);
  assert.deepEqual(other.nics, [
    { model: 'virtio', mac: '52:54:00:01:02:03', network: { kind: 'network', name: 'ovirtmgmt' } },
  ]);
});

test('sections that a description has no place for are taken over', () => {
  const keep = parseXml(vmware, 'x');
  const { result } = readOvf(keep);
  const { document, files } = writeOvf(result, { keep, fileSizes: new Map([['debian.iso', 5]]) }).result;
  const text = writeXml(document);
  assert.match(text, /<ovf:ProductSection ovf:required="false" xmlns:old="urn:old">[^]*<old:Made\/>/);
  assert.match(text, /<ovf:License>Be good<\/ovf:License>/);
  assert.match(text, /ovf:href="web%20disk-1\.vmdk" ovf:id="file1"\/>/);
  assert.match(text, /ovf:href="debian\.iso" ovf:id="file2" ovf:size="5"\/>/);
  assert.deepEqual(
    files.map(({ name }) => name),
    ['web disk-1.vmdk', 'debian.iso'],
  );
  assert.deepEqual(readOvf(parseXml(text, 'x')).result, result);
});

test('what is no envelope of one machine is refused', () => {
  const two = vmware.replace(/<VirtualSystem [^]*<\/VirtualSystem>/, '$&$&');
  assert.throws(() => readOvf(parseXml(two, 'x')), /2 machines where one was wanted.*"web", "web"/);
  for (const text of [
    '<a/>',
    '<Envelope/>',
    '<Envelope><VirtualSystem/></Envelope>',
    vmware.replace('2^30', '2^x'),
  ]) {
    assert.throws(() => readOvf(parseXml(text, 'x')), FormatError, text.slice(0, 80));
  }
});

test('units are expressions, or words of old tools', () => {
  const right: [string, number][] = [
    ['byte', 1],
    ['byte * 2^30', 2 ** 30],
    ['byte*2^20', 2 ** 20],
    ['byte * 1024 * 1024', 2 ** 20],
    ['MegaBytes', 2 ** 20],
    ['hertz * 10^6', 1e6],
  ];
  for (const [text, value] of right) assert.equal(parseAllocationUnits(text, 'x'), value, text);
  for (const text of [
    '',
    'byte *',
    'byte * 2^99',
    'stone',
    'byte * 0',
    'byte + 1',
    `byte${' * 1'.repeat(9)}`,
  ]) {
    assert.throws(() => parseAllocationUnits(text, 'x'), FormatError, text);
  }
});

test('names of systems have two spellings', () => {
  const names: [string, string][] = [
    ['debian12-64', 'debian12_64Guest'],
    ['ubuntu-64', 'ubuntu64Guest'],
    ['windows2019srv-64', 'windows2019srv_64Guest'],
    ['winXPPro', 'winXPProGuest'],
    ['other-64', 'otherGuest64'],
    ['rhel8-64', 'rhel8_64Guest'],
  ];
  for (const [vmx, ovf] of names) {
    assert.equal(toGuestId(vmx), ovf);
    assert.equal(fromGuestId(ovf), vmx);
  }
});

test('a description comes back, but for what is listed', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const description = randomDescription(random);
    const written = writeOvf(description);
    const read = readOvf(parseXml(writeXml(written.result.document), 'x')).result;
    assertCarried(description, written, read, `seed ${seed}, round ${round}`);
  }
});
