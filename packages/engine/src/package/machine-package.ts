/**
 * A machine in files: an OVA, an OVF envelope with its files, or a .vmx with its disks. Opening one verifies the manifest first:
 * nothing that comes after reads what is not what its maker packed. Files are looked for beside the envelope or .vmx, nowhere else.
 */
import { type Progress, PrimaError, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { ConfigurationDialect, Disk, MachineDescription, NotCarried } from '@prima/formats';
import { configurationOfFile, type FoundConfiguration } from '../machine/configuration.ts';
import { FileTimes } from './file-times.ts';
import { type PackageFiles, openArchive, openFolderFiles } from './package-files.ts';

export interface PackageDisk {
  /** `disk0`, `disk1` … in the order of the configuration. */
  name: string;
  /** What the configuration calls it. */
  slot: string;
  path: string;
  format: string;
  device: BlockDevice;
}

export interface MachinePackage {
  dialect: ConfigurationDialect;
  description: MachineDescription;
  configuration: { name: string; bytes: Uint8Array };
  notCarried: NotCarried[];
  disks: PackageDisk[];
  /** What is odd about it, for people. */
  notes: string[];
  /** Raises `source-changed` where a file is not what was verified any more. */
  verifyUnchanged(): Promise<void>;
  close(): Promise<void>;
}

export interface OpenPackageOptions {
  /** Of an envelope with several machines: which, by its `ovf:id`. */
  system?: string;
  signal?: AbortSignal;
  onProgress?: (subject: string, progress: Progress) => void;
}

/** Where a disk that a package names is opened. */
const mostDisks = 256;

/**
 * Raises `integrity` where the manifest says otherwise than the files, `format` where a file is missing, cut, or named by a path,
 * `unsupported` for files that are compressed or in pieces, and what opening disks raises.
 */
export async function openMachinePackage(
  path: string,
  options: OpenPackageOptions = {},
): Promise<MachinePackage> {
  const doing = `opening the package ${path}`;
  throwIfAborted(options.signal, doing);
  const times = new FileTimes();
  await times.note(path);
  const found = await configurationOfFile(path, options.system);
  const { read } = found;
  if (read.dialect !== 'ovf' && read.dialect !== 'vmx') {
    throw new UserError(
      'unsupported',
      `${path} is ${read.dialect}: give an OVA, an OVF envelope or a .vmx file`,
    );
  }
  if (read.disksBySlot.size > mostDisks) {
    throw new PrimaError(
      'format',
      `${path} has ${read.disksBySlot.size} disks where at most ${mostDisks} are taken`,
    );
  }
  await using opened = new AsyncDisposableStack();
  const isArchive = read.dialect === 'ovf' && found.folder === undefined;
  const reading = { ...options, times };
  const files = isArchive ? await openArchive(path, reading) : await openFolderFiles(path, found, reading);
  opened.defer(() => files.close());
  const disks: PackageDisk[] = [];
  const notes = [...files.notes];
  for (const [slot, disk] of read.disksBySlot) {
    throwIfAborted(options.signal, doing);
    const name = `disk${disks.length}`;
    const { device, format } = await openDisk({ path, files }, slot, disk);
    opened.defer(() => device.close());
    disks.push({ name, slot, path: disk.source?.location ?? '', format, device });
    notes.push(...sizeNotes(slot, disk, device.size));
  }
  const kept = opened.move();
  return {
    dialect: read.dialect,
    description: read.result,
    configuration: configurationFile(found),
    notCarried: read.notCarried,
    disks,
    notes,
    verifyUnchanged: () => times.assertSame(),
    close: () => kept.disposeAsync(),
  };
}

function configurationFile({ bytes, read }: FoundConfiguration): { name: string; bytes: Uint8Array } {
  return { name: read.dialect === 'vmx' ? 'machine.vmx' : 'machine.ovf', bytes };
}

async function openDisk(
  { path, files }: { path: string; files: PackageFiles },
  slot: string,
  { source, format }: Disk,
): Promise<{ device: BlockDevice; format: string }> {
  if (source?.kind !== 'file') {
    const what = source === undefined ? 'has no file' : `is ${source.location}, no file of the package`;
    throw new PrimaError('unsupported', `${path}: the disk at ${slot} ${what}`);
  }
  try {
    return await files.openDisk(source.location, format);
  } catch (error) {
    throw toPrimaError(error, `opening ${source.location}, the disk at ${slot} of ${path}`);
  }
}

/** The disk is what counts: an envelope's capacity is what its maker meant the guest to see. */
function sizeNotes(slot: string, { capacityBytes }: Disk, size: number): string[] {
  if (capacityBytes === undefined || capacityBytes === 0 || capacityBytes === size) return [];
  return [
    `the envelope says that the disk at ${slot} has ${capacityBytes} bytes; it has ${size}, and keeps them`,
  ];
}
