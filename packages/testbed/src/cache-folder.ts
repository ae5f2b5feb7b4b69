/** Where built and downloaded things of the test bed are kept between runs. */
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$PRIMA_CACHE/testbed`, else `$XDG_CACHE_HOME/prima/testbed`, else `~/.cache/prima/testbed`; made if absent. */
export async function testbedCache(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const xdg = env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(env.PRIMA_CACHE || join(xdg, 'prima'), 'testbed');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}
