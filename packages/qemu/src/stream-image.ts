/**
 * streamOptimized VMDK, which is compressed and can only be written from its beginning to its end:
 * qemu-img converts what we serve it over NBD.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ProgressListener, systemClock, throwIfAborted, toPrimaError } from '@prima/base';
import { type BlockDevice, filterDevice } from '@prima/block';
import { type NbdServer, serveNbd } from '@prima/nbd';
import { explainComplaint } from './block-tool.ts';
import { type GuardedProgram, guardedFailure, guardedFolderName, startGuarded } from './guarded.ts';
import { exists, sizeOfFile } from './paths.ts';
import { withShortSocketPath } from './unix-socket.ts';

export interface StreamOptions {
  runtimeFolder?: string;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/**
 * Waits until we serve, converts, and says that it has come to the end: the guardian keeps the exit
 * status to itself.
 */
const script = `
while [ ! -e serving ]; do sleep 0.02; done
"$@" && echo converted >&2
`;

/** Writes `source` to `path`; the caller removes what is there when this fails. */
export async function convertToStream(
  source: BlockDevice,
  path: string,
  options: StreamOptions,
): Promise<{ read: number; written: number }> {
  const { signal, onProgress, runtimeFolder } = options;
  const args = [
    'convert',
    '-f',
    'raw',
    '-O',
    'vmdk',
    '-o',
    'subformat=streamOptimized,adapter_type=lsilogic',
  ];
  const command = ['qemu-img', ...args, 'nbd+unix:///?socket=/proc/self/cwd/source.sock', path];
  const folder = guardedFolderName(runtimeFolder);
  const guarded = await startGuarded('/bin/sh', ['-c', script, 'sh', ...command], { folder, graceMs: 1000 });
  let read = 0;
  let done = 0;
  let failure: unknown;
  const counting = filterDevice(source, {
    read: async (offset, into, readSignal) => {
      try {
        await source.read(offset, into, readSignal);
      } catch (error) {
        failure ??= error; // qemu-img would only learn that there was one
        throw error;
      }
      read += into.length;
      done = Math.max(done, offset + into.length);
      onProgress?.({ phase: 'copying', done, total: source.size, read });
    },
  });
  try {
    await madeFolder(guarded, signal);
    await withShortSocketPath(join(folder, 'source.sock'), async (socketPath) => {
      const exported = { name: '', device: counting };
      await using server = await serveNbd({ listen: { socketPath }, exports: [exported], signal });
      await writeFile(join(folder, 'serving'), '');
      await converted(guarded, server, signal);
    });
    onProgress?.({ phase: 'copying', done: source.size, total: source.size, read });
    return { read, written: await sizeOfFile(path) };
  } catch (error) {
    throw signal?.aborted ? error : (failure ?? error);
  } finally {
    await guarded.close();
  }
}

async function madeFolder(guarded: GuardedProgram, signal?: AbortSignal): Promise<void> {
  let ended = false;
  const watch = guarded.ended.then(() => {
    ended = true;
  });
  while (!(await exists(guarded.folder))) {
    await Promise.race([systemClock.sleep(5, signal), watch]);
    if (ended) throw guardedFailure('qemu-img', guarded);
  }
}

async function converted(guarded: GuardedProgram, server: NbdServer, signal?: AbortSignal): Promise<void> {
  const doing = 'compressing into a streamed VMDK';
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(toPrimaError(signal?.reason, doing));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    throwIfAborted(signal, doing);
    await Promise.race([guarded.ended, aborted.promise]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await server.close();
  }
  if (/^converted$/m.test(guarded.stderr())) return;
  throw explainComplaint(guardedFailure('qemu-img', guarded), doing);
}
