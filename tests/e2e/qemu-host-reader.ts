/** A backup that reads until it is killed. usage: scripts/node tests/e2e/qemu-host-reader.ts ROOT MACHINE MODE */
import { openQemuHost } from '@prima/platforms';
import { patiently } from './patiently.ts';

const [root = '', name = '', mode = 'hot'] = process.argv.slice(2);
const platform = await openQemuHost('lab', root);
const machine = await platform.find(name);
console.log('opening');
for (;;) {
  const reading = await patiently(() =>
    platform.openForBackup(machine, { mode: mode === 'warm' ? 'warm' : 'hot', owner: 'one' }),
  );
  console.log('reading');
  const piece = new Uint8Array(1 << 20);
  for (const { device } of reading.disks) {
    for (let offset = 0; offset + piece.length <= device.size; offset += piece.length)
      await device.read(offset, piece);
  }
  await reading.close();
}
