/** A disk file in another format: all of it or nothing, and never over what is there unasked. */
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Progress, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import type { Journal } from '../journal.ts';
import { assertRoom, dataBytes } from '../restore/space.ts';
import { StagedFiles, takenNames } from '../restore/staged-files.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { openDiskFile } from './open-disk.ts';
import { type ImageFormat, writeDisk } from './write-disk.ts';

export interface ConvertDiskOptions {
  format: ImageFormat;
  /** Replace the target where it is there. */
  force?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface ConvertedDisk {
  path: string;
  /** Bytes of the file. */
  size: number;
  bytesRead: number;
  bytesWritten: number;
}

/** Raises `exists`, `no-space`, and what opening and reading raise; on failure nothing is left behind. */
export async function convertDisk(
  source: NamedDisk,
  target: string,
  options: ConvertDiskOptions,
): Promise<ConvertedDisk> {
  const { format, force = false, journal, signal, onProgress } = options;
  const doing = `converting ${source.path} to ${target}`;
  const [folder, name] = [dirname(target), basename(target)];
  if (!force && (await takenNames(folder, [name])).length > 0)
    throw new UserError('exists', `${target} is there already; nothing was written (--force replaces it)`);
  const { device } = await openDiskFile(source.path, {
    format: source.format,
    allowed: source.allowed,
    option: '--source-format',
    signal,
  });
  try {
    const entry = await journal.begin(doing);
    try {
      const staged = await StagedFiles.begin(folder, entry);
      await assertRoom(folder, await dataBytes(device, signal));
      const file = await staged.stage(name);
      const copied = await writeDisk(device, file.temporary, {
        format,
        fileName: name,
        signal,
        onProgress: (progress) => onProgress?.(name, progress),
      });
      throwIfAborted(signal, doing);
      const { size } = await stat(file.temporary);
      await staged.publish(force);
      return { path: file.path, size, bytesRead: copied.read, bytesWritten: copied.written };
    } catch (error) {
      const failure = toPrimaError(error, doing);
      await entry.undo();
      throw failure;
    }
  } finally {
    await device.close();
  }
}
