import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GiB, seededRandom } from '@prima/base';
import { assertCarried } from '../machine/carried-fixture.ts';
import { randomDescription } from '../machine/description-fixture.ts';
import { readVmxDescription } from './read-description.ts';
import { parseVmx, writeVmx } from './vmx.ts';
import { writeVmxDescription } from './write-description.ts';

/** By us, with the keys and the order of files that ESXi 7 writes. */
const esxi = `.encoding = "UTF-8"
config.version = "8"
virtualHW.version = "17"
vmci0.present = "TRUE"
displayName = "web 1"
# by hand
nvram = "web.nvram"
svga.vramSize = "8388608"
memSize = "2048"
numvcpus = "4"
cpuid.coresPerSocket = "2"
sched.cpu.units = "mhz"
sched.cpu.min = "500"
sched.cpu.shares = "normal"
sched.mem.max = "unlimited"
scsi0.virtualDev = "pvscsi"
scsi0.present = "TRUE"
sata0.present = "TRUE"
scsi0:0.deviceType = "scsi-hardDisk"
scsi0:0.fileName = "web.vmdk"
scsi0:0.ctkEnabled = "TRUE"
scsi0:0.present = "TRUE"
scsi0:1.fileName = "/vmfs/volumes/55aa/data.vmdk"
scsi0:1.mode = "independent-persistent"
scsi0:1.present = "TRUE"
scsi0:2.present = "FALSE"
scsi0:2.fileName = "gone.vmdk"
sata0:0.deviceType = "cdrom-image"
sata0:0.fileName = "/vmfs/volumes/iso/debian.iso"
sata0:0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.networkName = "VM Network"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0c:29:11:22:33"
ethernet0.present = "TRUE"
firmware = "efi"
uefi.secureBoot.enabled = "TRUE"
guestOS = "debian11-64"
uuid.bios = "56 4d 1a 2b 3c 4d 5e 6f-70 81 92 a3 b4 c5 d6 e7"
bios.bootOrder = "hdd,ethernet0"
bios.hddOrder = "scsi0:1,scsi0:0"
`;

test('what ESXi writes is read', () => {
  const { result, notCarried } = readVmxDescription(parseVmx(esxi), 'x');
  assert.deepEqual(result, {
    name: 'web 1',
    uuid: '564d1a2b-3c4d-5e6f-7081-92a3b4c5d6e7',
    guestOs: { vmware: 'debian11-64' },
    memoryBytes: 2 * GiB,
    cpus: { count: 4, topology: { sockets: 2, cores: 2, threads: 1 } },
    hardwareVersion: 17,
    firmware: { kind: 'uefi', secureBoot: true, nvram: 'web.nvram' },
    scsiControllers: [{ index: 0, model: 'pvscsi' }],
    disks: [
      {
        slot: { bus: 'scsi', controller: 0, unit: 0 },
        source: { kind: 'file', location: 'web.vmdk' },
        format: 'vmdk',
        bootIndex: 2,
      },
      {
        slot: { bus: 'scsi', controller: 0, unit: 1 },
        source: { kind: 'file', location: '/vmfs/volumes/55aa/data.vmdk' },
        format: 'vmdk',
        mode: 'independent-persistent',
        bootIndex: 1,
      },
    ],
    cdroms: [
      {
        slot: { bus: 'sata', controller: 0, unit: 0 },
        source: { kind: 'file', location: '/vmfs/volumes/iso/debian.iso' },
      },
    ],
    nics: [
      {
        model: 'vmxnet3',
        mac: '00:0c:29:11:22:33',
        network: { kind: 'network', name: 'VM Network' },
        bootIndex: 3,
      },
    ],
    video: { memoryBytes: 8_388_608 },
    displays: [],
    serialPorts: [],
    resources: { cpu: { shares: 'normal', reservationMhz: 500 } },
  });
  assert.deepEqual(notCarried.map(({ where }) => where).sort(), [
    'scsi0:0.ctkEnabled',
    'scsi0:2.present',
    'vmci0.present',
  ]);
});

test('written over the same file, nothing changes; a change changes its own lines', () => {
  const vmx = parseVmx(esxi);
  const { result } = readVmxDescription(vmx, 'x');
  const same = writeVmxDescription(result, { flavour: 'vmware', over: vmx });
  assert.equal(writeVmx(same.result), esxi);
  assert.deepEqual(same.notCarried, []);
  const changed = writeVmxDescription(
    { ...result, memoryBytes: GiB, disks: result.disks.slice(0, 1), nics: [] },
    { flavour: 'vmware', over: vmx },
  );
  const lines = new Set(writeVmx(changed.result).split('\n'));
  assert.ok(
    lines.has('memSize = "1024"') && lines.has('# by hand') && lines.has('scsi0:0.ctkEnabled = "TRUE"'),
  );
  assert.deepEqual(
    [...lines].filter((line) => /^(?:scsi0:1|ethernet)/.test(line)),
    [],
  );
  assert.equal(writeVmx(vmx), esxi);
});

test('ESX 2 names and switched cards', () => {
  const { result } = readVmxDescription(
    parseVmx('scsi0:1.name = "a.vmdk"\nethernet0.present = "true"\nethernet0.virtualDev = vlance\n'),
    'old',
  );
  assert.equal(result.name, 'old');
  assert.equal(result.disks[0]?.source?.location, 'a.vmdk');
  assert.equal(result.nics[0]?.model, 'pcnet');
});

test('a description comes back, but for what is listed', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  for (let round = 0; round < 150; round += 1) {
    const description = randomDescription(random);
    const over = random.below(2) === 0 ? parseVmx(esxi) : undefined;
    for (const flavour of ['vmware', 'plain-qemu'] as const) {
      const written = writeVmxDescription(description, { flavour, over });
      const read = readVmxDescription(parseVmx(writeVmx(written.result)), 'x').result;
      assertCarried(
        description,
        written,
        read,
        `seed ${seed}, round ${round}, ${flavour}, over ${Boolean(over)}`,
      );
    }
  }
});
