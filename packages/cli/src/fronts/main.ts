/** Where the fronts start: `node main.ts NAME ARGUMENT…`; see bin/. */
import { runFront } from '../process.ts';
import { translateVmkfstools } from './vmkfstools.ts';
import { type SnapFront, translate } from './vmsnap.ts';

const [name = '', ...argv] = process.argv.slice(2);
await runFront(() =>
  name === 'vmkfstools' ? translateVmkfstools(argv) : translate(name as SnapFront, argv),
);
