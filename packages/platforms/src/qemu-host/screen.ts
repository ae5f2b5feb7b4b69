/** What a machine shows: its screen, and its serial console. */
import { randomBytes } from 'node:crypto';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PrimaError, systemErrorCode, toPrimaError } from '@prima/base';
import type { MachineState } from '../platform.ts';
import type { MachinePaths } from './machine-folder.ts';
import { withControl } from './machine-state.ts';

/** A PNG. Raises `state` when the machine has no screen now. */
export async function screenshot(
  paths: MachinePaths,
  name: string,
  state: MachineState,
): Promise<Uint8Array> {
  if (state !== 'running' && state !== 'paused') {
    throw new PrimaError('state', `${name} is ${state}: there is no screen to look at`);
  }
  const filename = `screen-${randomBytes(4).toString('hex')}.png`;
  const path = join(paths.run, filename);
  try {
    await withControl(paths, (qmp) => qmp.execute('screendump', { filename, format: 'png' }));
    return await readFile(path);
  } finally {
    await rm(path, { force: true });
  }
}

/** The last `bytes` of the serial console; empty when it has never run. */
export async function consoleLog(paths: MachinePaths, bytes: number): Promise<string> {
  try {
    await using file = await open(paths.serial, 'r');
    const { size } = await file.stat();
    const start = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
    return buffer.toString('utf8', 0, bytesRead);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return '';
    throw toPrimaError(error, `reading ${paths.serial}`);
  }
}
