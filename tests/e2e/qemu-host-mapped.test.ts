/** A machine that runs on a device, through a raw device mapping: started, and backed up while it runs. */
import assert from 'node:assert/strict';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { seededRandom } from '@prima/base';
import { newMapping } from '@prima/formats';
import { identitiesOf, openDevice } from '@prima/qemu';
import { startIscsiTarget } from '@prima/testbed';
import { attachLoop } from '../interop/prima-fixture.ts';
import {
  assertCleanFileSystem,
  assertUntouched,
  createGuest,
  saveReading,
  startGuest,
  type TestHost,
  testHost,
} from './qemu-host-fixture.ts';

/** Serves the file until the test ends: after the host's machines, which were registered first. */
const devices: Record<string, (t: TestContext, file: string) => Promise<string>> = {
  'block device': attachLoop,
  'iSCSI LUN': async (t, file) => {
    const target = await startIscsiTarget(t);
    await target.add(1, file, 'PRIMARUN1');
    return target.url(1);
  },
};

for (const [what, serve] of Object.entries(devices)) {
  test(`a guest runs on a mapped ${what}, and hot backups read it`, async (t) => {
    const host = await testHost(t);
    const { platform, scratch } = host;
    const { folder = '', disks } = await createGuest(host, 'lun01');
    const file = join(scratch, 'lun.img');
    await rename(disks[1]?.path ?? '', file);
    const device = await serve(t, file);
    const identities = await mapAs(folder, device);

    const machine = await startGuest(host, await platform.find('lun01'));
    assert.deepEqual(machine.disks[1]?.lun, { device, identities });
    await backUp(host, machine);
    await assertUntouched(machine, 1);
  });
}

/** Has the machine's second disk be a mapping of the device. */
async function mapAs(folder: string, device: string): Promise<string[]> {
  const identities = await identitiesOf(device);
  const opened = await openDevice(device);
  const { size } = opened;
  await opened.close();
  const wanted = { version: 1, name: 'lun.vmdk', mode: 'virtual', device, identities, size } as const;
  const made = newMapping(wanted, seededRandom(1));
  await writeFile(join(folder, 'lun.vmdk'), made.descriptor);
  await writeFile(join(folder, 'lun-rdm.vmdk'), made.mapping);
  const vmx = join(folder, 'lun01.vmx');
  const text = (await readFile(vmx, 'utf8'))
    .replace('"disk1.raw"', '"lun.vmdk"')
    .replace('prima.scsi0:1.format = "raw"', 'prima.scsi0:1.format = "vmdk"');
  await writeFile(vmx, text);
  return identities;
}

async function backUp(
  { platform, scratch }: TestHost,
  machine: Awaited<ReturnType<typeof startGuest>>,
): Promise<void> {
  const reading = await platform.openForBackup(machine, { mode: 'auto', owner: 'one' });
  try {
    assert.equal(reading.mode, 'hot');
    assert.deepEqual(reading.skipped, []);
    assert.equal(reading.quiesced, true, reading.why.join('; '));
    const [, saved] = await saveReading(reading, scratch, 'hot');
    await assertCleanFileSystem(saved ?? '');
    await reading.succeed();
  } finally {
    await reading.close();
  }
}
