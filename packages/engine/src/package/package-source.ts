/** A package as what a backup reads: cold, in full, with its configuration. */
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { toPrimaError, UserError } from '@prima/base';
import type { OpenForBackupOptions } from '@prima/platforms';
import type { BackupSource, SourceReading } from '../backup/source.ts';
import { configurationOfFile } from '../machine/configuration.ts';
import { acquireLock } from '../lock.ts';
import { openMachinePackage } from './machine-package.ts';

/** Its identity is the computer's name and the package's real path. Raises what reading its configuration does. */
export async function packageSource(path: string, options: { lockFolder: string }): Promise<BackupSource> {
  const real = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the package ${path}`);
  });
  const { read } = await configurationOfFile(real);
  const digest = createHash('sha256').update(`${hostname()}\0${real}`).digest('hex');
  const machine = { id: `package-${digest.slice(0, 24)}`, name: read.result.name };
  return { machine, open: (request) => openReading(real, machine, { ...request, ...options }) };
}

async function openReading(
  path: string,
  machine: BackupSource['machine'],
  { mode, signal, lockFolder }: OpenForBackupOptions & { lockFolder: string },
): Promise<SourceReading> {
  if (mode === 'hot' || mode === 'warm') {
    throw new UserError(
      'unsupported',
      `${path} is a package: nothing runs that could be backed up ${mode}; take cold`,
    );
  }
  await using stack = new AsyncDisposableStack();
  stack.use(await acquireLock(join(lockFolder, `${machine.id}.lock`), `backing up ${machine.name}`));
  const opened = await openMachinePackage(path, { signal });
  stack.defer(() => opened.close());
  const kept = stack.move();
  return {
    mode: 'cold',
    quiesced: false,
    why: [`read from the package ${path}`, ...opened.notes],
    pointInTime: Date.now(),
    disks: opened.disks.map(({ name, slot, path: file, format, device }) => ({
      disk: { name, slot, path: file, format, size: device.size },
      device,
      whyFull: 'the changes of a package are not tracked',
    })),
    skipped: [],
    files: [opened.configuration],
    verify: async () => {
      await opened.verifyUnchanged();
      return [];
    },
    succeed: async () => undefined,
    close: () => kept.disposeAsync(),
  };
}
