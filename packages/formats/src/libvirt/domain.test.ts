import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, GiB, MiB, seededRandom } from '@prima/base';
import { parseXml, writeXml } from '@prima/xml';
import { assertCarried } from '../machine/carried-fixture.ts';
import { randomDescription } from '../machine/description-fixture.ts';
import { readDomain } from './read-domain.ts';
import { writeDomain } from './write-domain.ts';

/** By us, in the order and style of `virsh dumpxml` of libvirt 9, with what a person wrote into the file. */
const domain = `<!-- made with virt-manager -->
<domain type='kvm' id='3'>
  <name>web1</name>
  <uuid>564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7</uuid>
  <description>The &lt;first&gt; one</description>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/12"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='GiB'>2</memory>
  <currentMemory unit='KiB'>2097152</currentMemory>
  <vcpu placement='static'>4</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.secboot.fd</loader>
    <nvram>/var/lib/libvirt/qemu/nvram/web1_VARS.fd</nvram>
    <boot dev='hd'/>
    <boot dev='network'/>
  </os>
  <features>
    <acpi/>
  </features>
  <cpu mode='host-passthrough' check='none' migratable='on'>
    <topology sockets='1' dies='1' cores='2' threads='2'/>
  </cpu>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
  </clock>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/srv/web1.qcow2' index='2'/>
      <backingStore/>
      <target dev='vda' bus='virtio'/>
      <!-- the system -->
      <serial>S1</serial>
      <alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='nbd' name='data'>
        <host name='store' port='10809'/>
      </source>
      <target dev='sdb' bus='scsi'/>
      <address type='drive' controller='0' bus='0' target='0' unit='1'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <interface type='network'>
      <mac address='52:54:00:01:02:03'/>
      <source network='default' portid='7b1e' bridge='virbr0'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'>
      <target type='isa-serial' port='0'>
        <model name='isa-serial'/>
      </target>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <tpm model='tpm-crb'>
      <backend type='emulator' version='2.0'/>
    </tpm>
    <graphics type='vnc' port='-1' autoport='yes' passwd='secret'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
    <video>
      <model type='virtio' vram='16384' heads='1' primary='yes'/>
    </video>
  </devices>
</domain>
`;

test('what virsh dumps is read, and the rest is listed', () => {
  const { result, notCarried } = readDomain(parseXml(domain, 'x'));
  assert.deepEqual(result, {
    name: 'web1',
    uuid: '564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7',
    annotation: 'The <first> one',
    guestOs: { libosinfo: 'http://debian.org/debian/12' },
    memoryBytes: 2 * GiB,
    cpus: { count: 4, topology: { sockets: 1, cores: 2, threads: 2 }, model: 'host' },
    machineType: 'pc-q35-7.2',
    firmware: {
      kind: 'uefi',
      secureBoot: true,
      loader: '/usr/share/OVMF/OVMF_CODE_4M.secboot.fd',
      nvram: '/var/lib/libvirt/qemu/nvram/web1_VARS.fd',
    },
    clock: 'utc',
    scsiControllers: [{ index: 0, model: 'virtio-scsi' }],
    disks: [
      {
        slot: { bus: 'virtio', controller: 0, unit: 0 },
        source: { kind: 'file', location: '/srv/web1.qcow2' },
        format: 'qcow2',
        serial: 'S1',
        bootIndex: 1,
      },
      {
        slot: { bus: 'scsi', controller: 0, unit: 1 },
        source: { kind: 'network', location: 'nbd://store:10809/data' },
        format: 'raw',
      },
    ],
    cdroms: [{ slot: { bus: 'sata', controller: 0, unit: 0 } }],
    nics: [
      {
        model: 'virtio',
        mac: '52:54:00:01:02:03',
        network: { kind: 'network', name: 'default' },
        bootIndex: 2,
      },
    ],
    video: { model: 'virtio', memoryBytes: 16 * MiB },
    displays: [{ kind: 'vnc', listen: '127.0.0.1' }],
    serialPorts: [{ kind: 'pty' }],
    tpm: { version: '2.0', model: 'crb' },
  });
  const places = notCarried.map(({ where }) => where);
  for (const place of [
    'domain/features',
    'domain/clock/timer',
    'domain/on_crash',
    'domain/devices/channel',
    'domain/devices/disk/driver/@discard',
    'domain/devices/controller',
    'domain/devices/graphics/@passwd',
    'domain/cpu/@check',
  ]) {
    assert.ok(places.includes(place), `${place} in ${places.join(' ')}`);
  }
  assert.ok(!JSON.stringify(notCarried).includes('secret'));
});

test('written over itself, a domain stays as it is, byte for byte', () => {
  const over = parseXml(domain, 'x');
  const { result } = readDomain(over);
  assert.equal(writeXml(writeDomain(result, { over }).result), domain.replaceAll('"', "'"));
});

test('a change leaves the rest of the file alone', () => {
  const over = parseXml(domain, 'x');
  const { result } = readDomain(over);
  const [first] = result.disks;
  assert.ok(first);
  const disks = [{ ...first, source: { kind: 'file' as const, location: '/srv/new.raw' }, format: 'raw' }];
  const written = writeXml(writeDomain({ ...result, memoryBytes: GiB, disks, nics: [] }, { over }).result);
  const expected = domain
    .replaceAll('"', "'")
    .replace("<memory unit='GiB'>2<", "<memory unit='KiB'>1048576<")
    .replace('>2097152<', '>1048576<')
    .replace("type='qcow2' discard", "type='raw' discard")
    .replace("<source file='/srv/web1.qcow2' index='2'/>", "<source file='/srv/new.raw'/>")
    .replace(/ {4}<disk type='network'[^]*?<\/disk>\n/, '')
    .replace(/ {4}<interface[^]*?<\/interface>\n/, '')
    .replace(/ {4}<boot dev='hd'.*\n.*\n/, '');
  const [boot] =
    /^ {6}<boot order='1'\/>\n/m.exec(written) ?? assert.fail('the order of devices is not said');
  assert.equal(written.replace(boot, ''), expected);
});

test('what is no machine of ours is refused', () => {
  for (const text of [
    '<network/>',
    '<domain/>',
    '<domain><name>x</name></domain>',
    '<domain><name>x</name><memory unit="stone">1</memory></domain>',
    '<domain><name>x</name><memory>99999999999999999</memory></domain>',
    '<domain><name>x</name><memory>1</memory><os><type>xen</type></os></domain>',
  ]) {
    assert.throws(() => readDomain(parseXml(text, 'x')), FormatError, text);
  }
});

test('a description comes back, but for what is listed', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  for (let round = 0; round < 150; round += 1) {
    const description = randomDescription(random);
    const over = random.below(2) === 0 ? parseXml(domain, 'x') : undefined;
    const written = writeDomain(description, { over, ...(round % 3 === 0 && { folder: '/srv/web' }) });
    const read = readDomain(parseXml(writeXml(written.result), 'x')).result;
    assertCarried(description, written, read, `seed ${seed}, round ${round}, over ${Boolean(over)}`);
  }
});
