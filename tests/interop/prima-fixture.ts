/** `prima` in a folder of its own, and devices to map. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { runProgram } from '@prima/base';
import { runPrima, temporaryFolder } from '@prima/testbed';

/** `good` is for commands that must succeed, and gives what they print. */
export async function place(t: TestContext) {
  const folder = await temporaryFolder(t);
  const at = (name: string) => join(folder, name);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'a long passphrase' };
  const run = (...args: string[]) => runPrima(args, { env, cwd: folder });
  const good = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(...args);
    assert.equal(status, 0, `prima ${args.join(' ')}\n${stdout}\n${stderr}`);
    return stdout;
  };
  return { at, run, good };
}

/** A loop device over the file, until the test ends. Raises where there is none. */
export async function attachLoop(t: TestContext, file: string): Promise<string> {
  const { stdout } = await runProgram('losetup', ['--find', '--show', file]);
  const device = stdout.trim();
  t.after(() => detachLoop(device));
  return device;
}

/** Does nothing where it is detached already. */
export async function detachLoop(device: string): Promise<void> {
  await runProgram('losetup', ['--detach', device], { accept: [0, 1] });
}
