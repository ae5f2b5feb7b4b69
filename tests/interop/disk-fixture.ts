/** `prima disk` in a folder of its own, and what tests look at in its results. */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PrimaProcess, spawnPrima } from '@prima/testbed';

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

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<DiskFolder> {
    return new DiskFolder(await realpath(await mkdtemp(join(tmpdir(), 'prima-disk-'))));
  }

  at(name: string): string {
    return join(this.path, name);
  }

  start(...args: string[]): PrimaProcess {
    return spawnPrima([...args, '--json'], { env: { PRIMA_HOME: this.at('.home') }, cwd: this.path });
  }

  async prima(...args: string[]): Promise<DiskRun> {
    await using running = this.start('disk', ...args);
    const { status, stdout, stderr } = await running.result;
    const last = stdout.trim().split('\n').at(-1) ?? '';
    const { result } = JSON.parse(last === '' ? '{}' : last) as { result: DiskResult };
    return { status, result, said: `${stderr}${stdout}` };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return rm(this.path, { recursive: true, force: true });
  }
}
