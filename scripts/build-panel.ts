/** Builds the panel, for an installation that is not started with `npm start`. */
import { buildPanel } from '@prima/panel/build';

console.log(await buildPanel());
