import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import { parseVmx } from '@prima/formats';
import type { ImageFile } from '@prima/qemu';
import { commandLine, devicePath, nodeName } from './command-line.ts';
import { machineConfig } from './machine-config.ts';

const vmx = parseVmx(`.encoding = "UTF-8"
displayName = "web, the first"
uuid.bios = "56 4d 1a 2b 3c 4d 5e 6f-70 81 92 a3 b4 c5 d6 e7"
memsize = "512"
numvcpus = "2"
scsi0.present = "TRUE"
scsi0.virtualDev = "virtio-blk"
scsi0:0.fileName = "disk0.qcow2"
scsi0:1.fileName = "/srv/data.raw"
scsi0:1.present = "FALSE"
scsi1.virtualDev = "pvscsi"
scsi1:3.fileName = "../shared/data.raw"
scsi2.virtualDev = "buslogic"
scsi2:0.fileName = "old.vmdk"
scsi1:4.fileName = "lun.vmdk"
scsi1:4.deviceType = "rawDisk"
sata0:1.fileName = "cd.iso"
sata0:1.deviceType = "cdrom-image"
ethernet0.present = "TRUE"
ethernet0.connectionType = "nat"
ethernet0.address = "52:54:00:01:02:03"
ethernet1.present = "TRUE"
ethernet1.connectionType = "bridged"
prima.scsi0:0.format = "qcow2"
prima.kernel = "/boot/vmlinux"
prima.append = "console=ttyS0 root=/dev/vda"
`);
const config = machineConfig(vmx, '/hosts/lab/web', 'web');

const image = (path: string, format: ImageFile['format']): ImageFile => ({
  path,
  format,
  isBlockDevice: false,
});
const chains = new Map([
  [
    'scsi0:0',
    [
      { ...image('/hosts/lab/web/disk0.qcow2.REDO', 'qcow2'), node: 'redo-00000001' },
      { ...image('/hosts/lab/web/disk0.qcow2', 'qcow2'), node: nodeName('scsi0:0') },
      image('/hosts/lab/web/base.raw', 'raw'),
    ],
  ],
  ['scsi1:3', [{ ...image('/hosts/lab/shared/data.raw', 'raw'), node: nodeName('scsi1:3') }]],
]);

test('a .vmx says what the machine is', () => {
  assert.equal(config.id, '564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7');
  assert.equal(config.memoryBytes, 512 * MiB);
  assert.deepEqual(
    config.disks.map(({ slot, kind, path, format }) => [slot, kind, path, format]),
    [
      ['scsi0:0', 'virtio-blk', '/hosts/lab/web/disk0.qcow2', 'qcow2'],
      ['scsi1:3', 'pvscsi', '/hosts/lab/shared/data.raw', undefined],
      ['scsi1:4', undefined, '/hosts/lab/web/lun.vmdk', undefined],
      ['scsi2:0', undefined, '/hosts/lab/web/old.vmdk', undefined],
    ],
  );
  assert.deepEqual(config.nics, [{ index: 0, mac: '52:54:00:01:02:03' }]);
});

test('a machine without a UUID is known by its folder', () => {
  const bare = parseVmx('displayName = "x"\n');
  const [a, again, other] = ['/a', '/a', '/b'].map((folder) => machineConfig(bare, folder, 'x'));
  assert.equal(a?.id, again?.id);
  assert.notEqual(a?.id, other?.id);
  assert.match(a?.notes.join() ?? '', /uuid/);
});

test('the command line has the machine, and nothing that QEMU would guess', () => {
  const attached = { ...config, disks: config.disks.filter(({ kind }) => kind) };
  const choices = { accelerator: 'tcg', machineType: 'pc-q35-7.2', chains } as const;
  const args = commandLine(attached, choices, '/hosts/lab/web/.run');
  const after = (option: string) => args.flatMap((arg, index) => (args[index - 1] === option ? [arg] : []));
  assert.deepEqual(after('-name'), ['web,, the first']);
  assert.deepEqual(after('-machine'), ['pc-q35-7.2']);
  assert.deepEqual(after('-m'), ['512M']);
  assert.deepEqual(after('-append'), ['console=ttyS0 root=/dev/vda']);
  assert.deepEqual(after('-incoming'), []);
  const [first, second] = after('-blockdev').map((text) => JSON.parse(text) as Record<string, unknown>);
  const file = (filename: string) => ({ driver: 'file', filename, discard: 'unmap' });
  assert.deepEqual(first, {
    'node-name': 'redo-00000001',
    driver: 'qcow2',
    discard: 'unmap',
    file: file('../disk0.qcow2.REDO'),
    backing: {
      'node-name': nodeName('scsi0:0'),
      driver: 'qcow2',
      discard: 'unmap',
      file: file('../disk0.qcow2'),
      backing: { driver: 'raw', discard: 'unmap', file: file('../base.raw') },
    },
  });
  assert.equal(second?.driver, 'raw');
  const devices = after('-device').filter((text) => text.startsWith('{'));
  const scsi = devices
    .map((text) => JSON.parse(text) as Record<string, unknown>)
    .find(({ driver }) => driver === 'scsi-hd');
  assert.deepEqual(scsi, {
    driver: 'scsi-hd',
    bus: 'scsi1.0',
    channel: 0,
    'scsi-id': 3,
    lun: 0,
    drive: nodeName('scsi1:3'),
    id: 'dev-scsi1-3',
  });
  assert.equal(devicePath('scsi1:3'), '/machine/peripheral/dev-scsi1-3');
  const waiting = commandLine(attached, { ...choices, incoming: true }, '/hosts/lab/web/.run');
  assert.deepEqual(waiting.slice(0, -2), args);
});

test('a mapped device is what the guest gets, by the name that it has now', () => {
  const mapped = parseVmx('scsi0:0.fileName = "lun.vmdk"\nscsi0:0.deviceType = "rdm"\n');
  const { disks, ...rest } = machineConfig(mapped, '/m', 'm');
  assert.equal(disks[0]?.kind, 'virtio-scsi');
  const lun = { host: 'san', port: 3260, target: 'iqn.x', lun: 3 };
  const found: ImageFile[] = [
    { ...image('/dev/sdb', 'raw'), isBlockDevice: true },
    { ...image('iscsi://san:3260/iqn.x/3', 'raw'), lun },
  ];
  const nodes = found.map((file) => {
    const attached = new Map([['scsi0:0', [{ ...file, node: nodeName('scsi0:0') }]]]);
    const choices = { accelerator: 'tcg', machineType: 'pc-q35-7.2', chains: attached } as const;
    const args = commandLine({ disks, ...rest }, choices, '/m/.run');
    return (JSON.parse(args[args.indexOf('-blockdev') + 1] ?? '') as { file: object }).file;
  });
  assert.deepEqual(nodes, [
    { driver: 'host_device', filename: '/dev/sdb', discard: 'unmap' },
    { driver: 'iscsi', transport: 'tcp', portal: 'san:3260', target: 'iqn.x', lun: 3 },
  ]);
});

test('a disk that QEMU cannot have stops the start, and is named', () => {
  const choices = { accelerator: 'kvm', machineType: 'pc-q35-7.2', chains } as const;
  assert.throws(() => commandLine(config, choices, '/r'), /scsi1:4.*rawdisk|rawDisk/i);
});
