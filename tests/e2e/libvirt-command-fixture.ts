/** The command line where the private daemon's folders are at their usual places, with a repository and the host `lab`. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import {
  type Cleanup,
  type LibvirtDaemonOptions,
  type PrimaProcess,
  type PrimaResult,
  spawnPrima,
  temporaryFolder,
} from '@prima/testbed';
import { type LibvirtWorld, libvirtWorld } from './libvirt-fixture.ts';

export interface CommandWorld extends LibvirtWorld {
  env: Record<string, string>;
  /** Raises unless it ended with 0; gives what it printed. */
  prima: (...args: string[]) => Promise<string>;
  run: (...args: string[]) => Promise<PrimaResult>;
  /** Started, and not waited for. */
  spawn: (...args: string[]) => PrimaProcess;
}

export async function commandWorld(t: Cleanup, options: LibvirtDaemonOptions = {}): Promise<CommandWorld> {
  const world = await libvirtWorld(t, options);
  const folder = await temporaryFolder(t);
  const env = {
    PRIMA_HOME: join(folder, 'home'),
    PRIMA_REPO: join(folder, 'repository'),
    PRIMA_PASSPHRASE: 'a passphrase of the tests',
  };
  const spawn = (...args: string[]) => spawnPrima(args, { env, within: world.daemon.within });
  const run = (...args: string[]) => spawn(...args).result;
  const prima = async (...args: string[]) => {
    const { status, stdout, stderr } = await run(...args);
    assert.equal(status, 0, `prima ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  await prima('init');
  await prima('host', 'add', 'lab', 'qemu:///system');
  return { ...world, env, prima, run, spawn };
}
