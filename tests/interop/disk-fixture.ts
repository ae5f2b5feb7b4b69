/** `prima disk` in a folder of its own, and what tests look at in its results. */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@prima/base';
import { createApplication } from '@prima/server';
import { run } from '../../packages/cli/src/run.ts';

export interface DiskResult {
  path: string;
  format: string;
  kind: string;
  size: number;
  files: string[];
  vmdk: { createType: string; adapterType: string; parents: { path: string }[]; ddb: Record<string, string> };
  differences: unknown[];
}

export interface DiskRun {
  status: number | null;
  result: DiskResult;
  /** Everything that was said. */
  said: string;
}

export class DiskFolder implements AsyncDisposable {
  readonly path: string;
  readonly #home: string;
  readonly #isOurs: boolean;

  private constructor(path: string, home: string, isOurs: boolean) {
    this.path = path;
    this.#home = home;
    this.#isOurs = isOurs;
  }

  static async make(): Promise<DiskFolder> {
    const path = await realpath(await mkdtemp(join(tmpdir(), 'prima-disk-')));
    return new DiskFolder(path, join(path, '.home'), true);
  }

  /** Over a folder that is there, and stays. */
  static over(path: string, home: string): DiskFolder {
    return new DiskFolder(path, home, false);
  }

  at(name: string): string {
    return join(this.path, name);
  }

  /** Runs `prima disk` inside this process, which is several times as fast, with the folder as the working one. */
  async prima(...args: string[]): Promise<DiskRun> {
    const said = { stdout: '', stderr: '' };
    const stream = (name: keyof typeof said) => ({
      write: (text: string) => void (said[name] += text),
      isTTY: false,
      columns: 80,
    });
    process.chdir(this.path);
    const status = await run(['disk', ...args, '--json'], {
      stdout: stream('stdout'),
      stderr: stream('stderr'),
      env: { PRIMA_HOME: this.#home },
      clock: systemClock,
      startServer: () => Promise.reject(new Error('no server is wanted here')),
      startWorker: () => Promise.reject(new Error('no worker is wanted here')),
      serverLines: () => {
        throw new Error('no server is meant');
      },
      openServer: () => Promise.reject(new Error('no server is meant')),
      openApplication: createApplication,
      onInterrupt: () => () => undefined,
      every: () => () => undefined,
      exit: () => undefined,
    });
    const last = said.stdout.trim().split('\n').at(-1) ?? '';
    const { result } = JSON.parse(last === '' ? '{}' : last) as { result: DiskResult };
    return { status, result, said: `${said.stderr}${said.stdout}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.chdir(tmpdir());
    if (this.#isOurs) await rm(this.path, { recursive: true, force: true });
  }
}
