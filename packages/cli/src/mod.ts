/** The command line; `main.ts` starts it. */
export type { Environment } from './environment.ts';
export { run } from './run.ts';
