/** Where the fronts start: `node main.ts NAME ARGUMENT…`; see bin/. */
import { runFront } from '../process.ts';
import { type SnapFront, translate } from './vmsnap.ts';

const [name = '', ...argv] = process.argv.slice(2);
await runFront(() => translate(name as SnapFront, argv));
