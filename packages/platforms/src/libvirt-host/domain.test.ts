import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diskChain, parseDomain } from './domain.ts';

const xml = `<domain type='kvm' id='7'><name>web</name><uuid>44E102BB-7307-445f-ae38-843c6accb1c3</uuid>
<memory unit='GiB'>2</memory><vcpu placement='static' current='1'>4</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram></os>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.qcow2' index='2'/><backingStore/><target dev='vda' bus='virtio'/></disk>
<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/b'/><target dev='sda' bus='scsi'/></disk>
<disk type='network' device='disk'><driver name='qemu'/><source protocol='rbd' name='rbd/c'><host name='mon' port='6789'/></source><target dev='vdb' bus='virtio'/></disk>
<disk type='network' device='disk'><source protocol='iscsi' name='iqn.x/1'><host name='san' port='3260'/></source><target dev='vdc'/></disk>
<disk type='network' device='disk'><source protocol='nbd' name='e'><host transport='unix' socket='/s'/></source><target dev='vdd'/></disk>
<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vde'/></disk>
<disk type='block' device='lun'><source dev='/dev/sdq'/><target dev='sdb'/></disk>
<disk type='file' device='disk'><source file='/i/t'/><target dev='vdf'/><transient/></disk>
<disk type='file' device='disk'><source file='/i/r'/><target dev='vdg'/><readonly/></disk>
<disk type='vhostuser' device='disk'><source type='unix' path='/s'/><target dev='vdh'/></disk>
<disk type='file' device='disk'><target dev='vdi'/></disk>
<disk type='file' device='cdrom'><source file='/i/x.iso'/><target dev='sdc'/><readonly/></disk>
<serial type='pty'><log file='/log/web'/></serial><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
</devices></domain>`;

test('what a domain has', () => {
  const { document, disks, ...domain } = parseDomain(xml, 'web');
  assert.equal(document.root.local, 'domain');
  assert.deepEqual(domain, {
    name: 'web',
    uuid: '44e102bb-7307-445f-ae38-843c6accb1c3',
    type: 'kvm',
    id: 7,
    memoryBytes: 2 * 1024 ** 3,
    cpus: 4,
    agent: 'connected',
    hasAgentChannel: true,
    consoleLog: '/log/web',
    nvram: '/var/lib/libvirt/qemu/nvram/web_VARS.fd',
    hasTpm: true,
  });
  assert.deepEqual(
    disks.map(({ target, source, location, format, excluded }) => [
      target,
      source,
      location,
      format,
      excluded?.split(/[ :,]/).slice(0, 4).join(' '),
    ]),
    [
      ['vda', 'file', '/i/a.qcow2', 'qcow2', undefined],
      ['sda', 'block', '/dev/vg/b', 'raw', undefined],
      ['vdb', 'network', 'rbd:rbd/c', 'raw', undefined],
      ['vdc', 'network', 'iscsi://san:3260/iqn.x/1', 'raw', undefined],
      ['vdd', 'network', 'nbd+unix:///e?socket=/s', 'raw', undefined],
      ['vde', 'volume', 'p/v', 'raw', undefined],
      ['sdb', 'block', '/dev/sdq', 'raw', 'it is a LUN'],
      ['vdf', 'file', '/i/t', 'raw', 'it is transient '],
      ['vdg', 'file', '/i/r', 'raw', 'it is read-only'],
      ['vdh', 'vhostuser', '/s', 'raw', 'QEMU does not see'],
      ['vdi', 'file', '', 'raw', 'it has no source'],
    ],
  );
});

test('what is none is refused', () => {
  for (const text of ['<pool/>', '<domain/>', '<domain><name>a</name></domain>', 'x']) {
    assert.throws(() => parseDomain(text, 'x'), { code: 'format' }, text);
  }
});

test('a disk and its backing files, top first', () => {
  const [disk] = parseDomain(
    `<domain type='kvm'><name>w</name><uuid>44e102bb-7307-445f-ae38-843c6accb1c3</uuid><devices><disk type='file'><source file='/top'/>
<backingStore type='network'><format type='qcow2'/><source protocol='rbd' name='p/base'/><backingStore/></backingStore><target dev='vda'/></disk></devices></domain>`,
    'w',
  ).disks;
  assert.deepEqual(disk && diskChain(disk.element), ['/top', 'rbd:p/base']);
});
