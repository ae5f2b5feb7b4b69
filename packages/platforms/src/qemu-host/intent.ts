/**
 * What a live backup does to a running QEMU, written down before it is done (`.run/backup.json`), so that
 * whoever finds it can undo it: the run itself, its guardian, or the next run.
 */
import { rm } from 'node:fs/promises';
import { FormatError, replaceFile } from '@prima/base';
import { type MachinePaths, readOptional } from './machine-folder.ts';

export interface IntentDisk {
  slot: string;
  /** The disk's node in QEMU, and the path of its device in QEMU's object tree. */
  node: string;
  device: string;
  /** The scratch file, absolute; and the nodes and the export that the backup adds. */
  scratchFile: string;
  scratchNode: string;
  filterNode: string;
  viewNode: string;
  exportId: string;
  /** Counts from the point in time on. */
  newBitmap: string;
  /** The copy of the parent's bitmap as it was at the point in time. */
  frozenBitmap: string;
}

export interface BackupIntent {
  version: 1;
  /** The machine's folder: a copied folder's intent means nothing. */
  folder: string;
  /** True until the guest runs again after the point in time: it may be paused or frozen by us. */
  inWindow: boolean;
  /** It ran when we came, so it must run when we go. */
  wasRunning: boolean;
  /** We may have frozen its file systems. */
  freezes: boolean;
  /** We may have started a migration that saves its memory. */
  migrates: boolean;
  /** The NBD server's socket, absolute. */
  nbdSocket: string;
  /** A file that holds its memory, absolute. */
  memoryFile?: string;
  disks: IntentDisk[];
}

/** For pausing or freezing the guest for a moment, without a backup: whoever finds it lets the guest run on. */
export function pauseIntent(
  paths: MachinePaths,
  facts: Pick<BackupIntent, 'wasRunning' | 'freezes'>,
): BackupIntent {
  const nbdSocket = `${paths.run}/none.sock`;
  return {
    version: 1,
    folder: paths.folder,
    inWindow: true,
    migrates: false,
    nbdSocket,
    disks: [],
    ...facts,
  };
}

export async function writeIntent(paths: MachinePaths, intent: BackupIntent): Promise<void> {
  await replaceFile(paths.intent, `${JSON.stringify(intent, null, 2)}\n`);
}

export async function removeIntent(paths: MachinePaths): Promise<void> {
  await rm(paths.intent, { force: true });
}

/** What there is to undo; undefined when there is nothing, or it is another folder's. */
export async function readIntent(paths: MachinePaths): Promise<BackupIntent | undefined> {
  const text = await readOptional(paths.intent);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${paths.intent} is not JSON`, { cause: error });
  }
  const intent = value as Partial<BackupIntent>;
  if (intent.version !== 1 || !Array.isArray(intent.disks) || typeof intent.folder !== 'string') {
    throw new FormatError(`${paths.intent} is no note of a backup of version 1`);
  }
  return intent.folder === paths.folder ? (intent as BackupIntent) : undefined;
}
