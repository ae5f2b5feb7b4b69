/** Adds and merges redo logs until it is killed. usage: scripts/node tests/e2e/redo-logs-reader.ts ROOT MACHINE */
import { openQemuHost } from '@prima/platforms';
import { patiently } from './patiently.ts';

const [root = '', name = ''] = process.argv.slice(2);
const platform = await openQemuHost('lab', root);
const { redo } = platform;
if (!redo) throw new Error('the host has no redo logs');
const logs = async () => Math.max(...(await platform.find(name)).disks.map((disk) => disk.logs?.length ?? 0));
const machine = await platform.find(name);
while ((await logs()) > 0) await patiently(() => redo.commit(machine));
for (;;) {
  console.log('adding');
  await patiently(() => redo.add(machine, { quiesce: true }));
  await redo.add(machine, { quiesce: false });
  console.log('merging beneath');
  await redo.commit(machine, { level: 1 });
  console.log('merging');
  await redo.commit(machine, { level: 0 });
}
