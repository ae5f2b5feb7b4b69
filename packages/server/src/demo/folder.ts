/** The folder of a demonstration: named so that it is known as one, and removed with the machines that run in it. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { PrimaError, statIfThere } from '@prima/base';

const prefix = 'prima-demo-';

/** A new name in `parent` (default: the system's temporary folder); nothing is made. */
export function demoFolder(parent = tmpdir()): string {
  return join(resolve(parent), `${prefix}${randomBytes(4).toString('hex')}`);
}

/** The folder of its machines. */
export function hostFolder(folder: string): string {
  return join(folder, 'host');
}

/** Kills the machines in it and removes it; answers what was done, nothing when it is not there. */
export async function removeDemoFolder(folder: string): Promise<string[]> {
  if (!basename(folder).startsWith(prefix)) {
    throw new PrimaError('refused', `${folder} is not a demonstration's folder and is not removed`);
  }
  if (!(await isThere(folder))) return [];
  const done: string[] = [];
  if (await isThere(hostFolder(folder))) {
    const { openQemuHost } = await import('@prima/platforms');
    const host = await openQemuHost('demo', hostFolder(folder));
    for (const machine of await host.inventory()) {
      if (machine.state === 'off' || machine.state === 'suspended') continue;
      await host.power(machine, 'kill');
      done.push(`killed the machine ${machine.name} in ${folder}`);
    }
  }
  await rm(folder, { recursive: true, force: true });
  return [...done, `removed ${folder}`];
}

async function isThere(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}
