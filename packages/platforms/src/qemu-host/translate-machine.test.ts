import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type MachineDescription, newDescription, type Slot, writeConfiguration } from '@prima/formats';
import { machineConfig } from './machine-config.ts';
import { translateMachine } from './translate-machine.ts';

const at = (bus: Slot['bus'], controller: number, unit: number): Slot => ({ bus, controller, unit });

function translated(changes: Partial<MachineDescription>, dialect: 'ovf' | 'libvirt' | 'vmx' = 'ovf') {
  const description = { ...newDescription('web'), memoryBytes: 2 ** 29, ...changes };
  const { result } = writeConfiguration(description, dialect, { folder: '/m' });
  const machine = translateMachine({ name: `web.${dialect}`, bytes: Buffer.from(result) }, 'pc-q35-7.2');
  return { ...machine, config: machineConfig(machine.vmx, '/m', 'web') };
}

const disk = (slot: Slot) => ({
  slot,
  source: { kind: 'file' as const, location: `${slot.bus}.vmdk` },
  format: 'vmdk',
});

test('every disk of an envelope can be run, and is known by the slot it had', () => {
  const slots = [at('scsi', 0, 0), at('scsi', 1, 8), at('nvme', 0, 0), at('sata', 0, 0), at('virtio', 0, 3)];
  const { config, slotOf, notes } = translated({
    disks: slots.map(disk),
    scsiControllers: [
      { index: 0, model: 'pvscsi' },
      { index: 1, model: 'buslogic' },
    ],
  });
  assert.equal(config.machineType, 'pc-q35-7.2');
  const kinds = new Map(config.disks.map(({ slot, kind }) => [slot, kind]));
  const found = ['scsi0:0', 'scsi1:8', 'nvme0:0', 'sata0:0', 'virtio0:3'].map((slot) =>
    kinds.get(slotOf(slot)),
  );
  assert.deepEqual(found, ['pvscsi', 'lsilogic', 'sata', 'sata', 'virtio-blk']);
  assert.equal(new Set(config.disks.map(({ slot }) => slot)).size, 5);
  assert.ok(notes.includes('scsi1 (buslogic) becomes lsilogic'), notes.join('\n'));
  assert.ok(notes.includes('the disk at nvme0:0 goes to sata0:1: QEMU runs none there'), notes.join('\n'));
  assert.throws(() => slotOf('scsi0:5'), { code: 'format' });
});

test('what a plain QEMU host does not have is said', () => {
  const { config, notes } = translated({
    firmware: { kind: 'uefi' },
    tpm: { version: '2.0' },
    nics: [{ network: { kind: 'network', name: 'VM Network' }, mac: '00:50:56:00:00:01' }],
    disks: [disk(at('ide', 0, 1))],
  });
  const text = notes.join('\n');
  assert.match(text, /starts with UEFI/);
  assert.match(text, /no TPM/);
  assert.match(text, /network card 0 is not plugged in: its network is "VM Network"/);
  assert.deepEqual(config.nics, []);
  assert.deepEqual(
    config.disks.map(({ slot, kind }) => [slot, kind]),
    [['ide0:1', 'ide']],
  );
});

test('a .vmx of VMware keeps what is not known, and its disks', () => {
  const vmx =
    'displayName = "web"\nmemsize = "512"\nscsi0:1.fileName = "/vmfs/a.vmdk"\nsvga.autodetect = "TRUE"\n';
  const { vmx: own, slotOf } = translateMachine({ name: 'web.vmx', bytes: Buffer.from(vmx) }, 'pc-q35-7.2');
  assert.equal(own.get('svga.autodetect'), 'TRUE');
  assert.equal(slotOf('scsi0:1'), 'scsi0:1');
  assert.equal(machineConfig(own, '/m', 'web').disks[0]?.kind, 'lsilogic');
});
