/** Redo logs that QEMU can run on: qcow2 files whose backing file is the disk, of any format, or the log beneath. */
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { PrimaError, syncFolder, systemErrorCode, toPrimaError } from '@prima/base';
import { openRawFile, type WritableDevice } from '@prima/block';
import {
  type DiskFormat,
  type LogKind,
  type LogOptions,
  type LogPlace,
  openVmdk,
  type OwnContent,
  parseQcow2Header,
  qcow2HeaderBytes,
} from '@prima/formats';
import { qemuImg } from './block-tool.ts';
import { allocationDepth, openWithQemu } from './image-device.ts';
import { createImage } from './create-image.ts';

export interface Qcow2LogOptions {
  /** The disk beneath all logs, absolute. */
  disk: string;
  format: DiskFormat;
  /** Bytes the guest sees, a multiple of 512. */
  size: number;
}

/** QEMU opens every file of a chain. */
const mostLogs = 32;
/** Ends the name of a log while `create` is at work. */
const unfinished = '.tmp';

export function qcow2Logs({ disk, format, size }: Qcow2LogOptions): LogKind {
  const formatOf = (path: string): DiskFormat => (path === disk ? format : 'qcow2');
  const create = async ({ log, beneath }: LogPlace, { signal }: LogOptions = {}) => {
    const temporary = log + unfinished;
    await rm(temporary, { force: true });
    if (formatOf(beneath) === 'raw') await mustBeSectors(beneath);
    const backing = { path: nameBeside(beneath), format: formatOf(beneath) };
    await createImage(temporary, { format: 'qcow2', size, backing, signal });
    await publish(temporary, log);
  };
  const close = async ({ beneath }: LogPlace, above?: string, options: LogOptions = {}) => {
    if (above === undefined) return;
    // `-u` changes the name only: what is beneath holds the same
    const args = [
      'rebase',
      '-u',
      '-f',
      'qcow2',
      '-b',
      nameBeside(beneath),
      '-F',
      formatOf(beneath),
      '--',
      above,
    ];
    await qemuImg(args, `putting ${above} over ${beneath}`, options);
    await syncFile(above);
  };
  return {
    kind: 'qcow2',
    limit: mostLogs,
    files: (name) => [name, name + unfinished],
    create,
    isWhole,
    own: ownContent,
    openBeneath: (path, options) => openBeneath(path, formatOf(path), options),
    close,
  };
}

/** The name of a file in the folder of who names it, as QEMU takes no protocol for it (`disk:0.qcow2`). */
export function nameBeside(path: string): string {
  const name = basename(path);
  return name.includes(':') ? `./${name}` : name;
}

/** What is written to a part of a sector at its end could not be merged. */
async function mustBeSectors(disk: string): Promise<void> {
  const { size } = await stat(disk);
  if (size % 512 === 0) return;
  throw new PrimaError(
    'unsupported',
    `${disk} has ${size} bytes, which is not a multiple of 512: it cannot be written to, and so can have no redo logs`,
  );
}

async function openBeneath(
  path: string,
  format: DiskFormat,
  { signal }: LogOptions = {},
): Promise<WritableDevice> {
  if (format === 'raw') return openRawFile(path, { writable: true });
  // children of ours know nothing of CIDs, and others were refused
  if (format === 'vmdk') return (await openVmdk(path, { writable: true, signal })).device;
  return openWithQemu(path, { format, writable: true, signal });
}

/** A log has its final name only when it is whole. */
async function isWhole(log: string): Promise<boolean> {
  try {
    await using file = await open(log, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(qcow2HeaderBytes), 0, qcow2HeaderBytes, 0);
    if (parseQcow2Header(buffer.subarray(0, bytesRead)).backingFile !== undefined) return true;
    throw new PrimaError('state', `${log} is no redo log any more: it is based on nothing`);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw toPrimaError(error, `looking at the redo log ${log}`);
  }
}

async function publish(temporary: string, path: string): Promise<void> {
  try {
    await syncFile(temporary);
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw toPrimaError(error, `making the redo log ${path}`);
  }
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, 'r+');
  await file.sync();
}

async function ownContent(log: string, { signal }: LogOptions = {}): Promise<OwnContent> {
  const image = await openWithQemu(log, { format: 'qcow2', ownOnly: true, signal });
  return {
    size: image.size,
    runs: async function* (runSignal) {
      const whole = { offset: 0, length: image.size };
      for await (const { flags, ...range } of image.blockStatus(whole, allocationDepth, {
        signal: runSignal,
      })) {
        if (flags === 0) continue;
        for await (const { kind, ...part } of image.extents(range, { signal: runSignal }))
          yield { ...part, kind: kind === 'data' ? 'data' : 'zero' };
      }
    },
    read: (offset, into, readSignal) => image.read(offset, into, readSignal),
    close: () => image.close(),
  };
}
