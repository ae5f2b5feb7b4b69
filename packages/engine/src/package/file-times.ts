/** Whether files are still what they were when they were first looked at. */
import { stat } from 'node:fs/promises';
import { PrimaError, toPrimaError } from '@prima/base';

export class FileTimes {
  readonly #seen = new Map<string, string>();

  /** Before the file is read. */
  async note(path: string): Promise<void> {
    if (!this.#seen.has(path)) this.#seen.set(path, await timesOf(path));
  }

  /** Raises `source-changed`. */
  async assertSame(): Promise<void> {
    for (const [path, was] of this.#seen) {
      if ((await timesOf(path)) === was) continue;
      throw new PrimaError('source-changed', `${path} was changed while it was read; nothing was made of it`);
    }
  }
}

async function timesOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeMs } = await stat(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking at ${path}`);
  });
  return [dev, ino, size, mtimeMs].join(' ');
}
