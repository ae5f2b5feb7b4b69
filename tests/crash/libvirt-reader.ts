/** A backup that reads until it is killed. usage: scripts/node tests/crash/libvirt-reader.ts URI ROOT MACHINE MODE [hold] */
import { openLibvirtHost } from '@prima/platforms';

const [uri = '', root = '', name = '', mode = 'hot', hold] = process.argv.slice(2);
const platform = openLibvirtHost('lab', uri, { root });
const machine = await platform.find(name);
console.log('opening');
for (;;) {
  const reading = await platform.openForBackup(machine, {
    mode: mode === 'hot' || mode === 'warm' ? mode : 'cold',
    owner: 'one',
  });
  console.log('reading');
  if (hold !== undefined) await new Promise(() => setInterval(() => undefined, 1000));
  const piece = new Uint8Array(1 << 20);
  for (const { device } of reading.disks) {
    for (let offset = 0; offset + piece.length <= device.size; offset += piece.length)
      await device.read(offset, piece);
  }
  await reading.close();
}
