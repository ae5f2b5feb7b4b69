/**
 * Builds the panel where it is not, or is older than its sources, and starts the server with it.
 * usage: npm start [-- OPTIONS OF prima server]
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buildPanel } from '@prima/panel/build';

const root = join(import.meta.dirname, '..');
const panel = await buildPanel();
const server = spawn(join(root, 'bin/prima'), ['server', '--panel', panel, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => server.kill(signal));
server.on('exit', (status) => process.exit(status ?? 1));
