/** A new VMDK among staged files: empty, with a device's content, or with what a child holds over its parent. */
import { dirname, join } from 'node:path';
import { MiB, type Progress, throwIfAborted } from '@prima/base';
import { type BlockDevice, copyDevice, type WritableDevice } from '@prima/block';
import { createVmdk, type CreateVmdkOptions, localFolder, type OpenVmdk, openVmdk } from '@prima/formats';
import type { StagedFiles } from '../restore/staged-files.ts';
import { stagedFolder } from './staged-folder.ts';

export interface StageVmdkOptions extends Omit<CreateVmdkOptions, 'folder'> {
  name: string;
  /** Where the parents of its parent are. */
  roots?: readonly string[];
  onProgress?: (progress: Progress) => void;
}

/** The paths that the disk's files will have, its descriptor's first. */
export async function stageVmdk(
  staged: StagedFiles,
  { name, roots: more = [], ...options }: StageVmdkOptions,
  fill?: (device: WritableDevice) => Promise<void>,
): Promise<string[]> {
  const roots = [staged.folder, ...more, ...(options.parent === undefined ? [] : [dirname(options.parent)])];
  const folder = stagedFolder(localFolder(roots), staged);
  const made = await createVmdk(join(staged.folder, name), { ...options, folder });
  if (fill) {
    const { device } = await openVmdk(made.path, { folder, writable: true, signal: options.signal });
    try {
      await fill(device);
      await device.flush();
    } finally {
      await device.close();
    }
  }
  return [...made.files];
}

/** Copies all of a disk; eager zeros stay where it has holes. */
export function fillFrom(
  source: BlockDevice,
  { signal, onProgress }: Pick<StageVmdkOptions, 'signal' | 'onProgress'>,
): (device: WritableDevice) => Promise<{ read: number; written: number }> {
  return (device) => copyDevice(source, device, { targetIsZero: true, signal, onProgress });
}

/** Copies what the child itself holds, zeros over its parent's data among it. */
export async function copyOwn(
  own: OpenVmdk,
  target: WritableDevice,
  { signal, onProgress }: Pick<StageVmdkOptions, 'signal' | 'onProgress'>,
): Promise<{ read: number; written: number }> {
  const source = own.device;
  const total = source.size;
  let copied = 0;
  for (let offset = 0; offset < total; ) {
    throwIfAborted(signal, 'copying a disk');
    const runs = await own.ownRuns(offset, total - offset, signal);
    for (const run of runs) {
      if (run.kind === 'data') copied += await copyRange(source, target, { ...run, signal });
      else if (run.kind !== 'absent') await target.zero(run, signal);
      offset = run.offset + run.length;
      onProgress?.({ phase: 'copying', done: offset, total, read: copied, stored: copied });
    }
  }
  return { read: copied, written: copied };
}

async function copyRange(
  source: BlockDevice,
  target: WritableDevice,
  { offset, length, signal }: { offset: number; length: number; signal: AbortSignal | undefined },
): Promise<number> {
  const buffer = new Uint8Array(Math.min(length, MiB));
  for (let done = 0; done < length; done += buffer.length) {
    const bytes = buffer.subarray(0, Math.min(buffer.length, length - done));
    await source.read(offset + done, bytes, signal);
    await target.write(offset + done, bytes, signal);
  }
  return length;
}
