/** New disks: all of their files or none, and never over what is there unasked. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Progress, statIfThere, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import { openRawFile } from '@prima/block';
import { createImage } from '@prima/qemu';
import type { Journal } from '../journal.ts';
import { StagedFiles } from '../restore/staged-files.ts';
import { diskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { openDiskFile } from './open-disk.ts';
import { stageVmdk } from './stage-vmdk.ts';
import { madeOf, type VmdkKind } from './vmdk-kinds.ts';
import type { ImageFormat } from './write-disk.ts';

export interface MakeDiskOptions {
  /** Replace the target where it is there, if it is a single file. */
  force?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface MadeDisk {
  path: string;
  /** All of its files, that by which it is opened first. */
  files: string[];
  /** Bytes of all files. */
  size: number;
}

/**
 * Has `make` stage a new disk under the target's name, and publishes it.
 * @param make writes among the staged files; the paths of what belongs to the disk
 */
export async function makeDisk(
  target: string,
  { doing, force = false, journal, signal }: MakeDiskOptions & { doing: string },
  make: (staged: StagedFiles, name: string) => Promise<string[]>,
): Promise<MadeDisk> {
  await assertFree(target, force);
  const entry = await journal.begin(doing);
  try {
    const staged = await StagedFiles.begin(dirname(target), entry);
    const files = await make(staged, basename(target));
    throwIfAborted(signal, doing);
    await staged.publish(force);
    let size = 0;
    for (const file of files) size += (await stat(file)).size;
    return { path: join(staged.folder, basename(target)), files, size };
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await entry.undo();
    throw failure;
  }
}

async function assertFree(target: string, force: boolean): Promise<void> {
  if ((await statIfThere(target)) === undefined) return;
  if (!force)
    throw new UserError('exists', `${target} is there already; nothing was written (--force replaces it)`);
  const parts = await diskParts({ path: target }).catch((error: unknown) => {
    const { code } = toPrimaError(error, `looking at ${target}`);
    if (code === 'permission' || code === 'io' || code === 'internal') throw error;
    return undefined; // no disk, or a damaged one: it is one file then
  });
  const more = parts?.files.slice(1) ?? [];
  if (more.length === 0) return;
  throw new UserError(
    'exists',
    `${target} is there already and has ${more.length} more files (${more[0]?.path}), which would be left over; delete it first`,
  );
}

export interface CreateDiskOptions extends MakeDiskOptions {
  format: ImageFormat;
  /** Of a VMDK. Default: monolithicSparse, of a child vmfsSparse where its parent is ESX's. */
  kind?: VmdkKind;
  /** Bytes; a child's is its parent's. */
  size?: number;
  adapterType?: string;
  parent?: NamedDisk;
}

/** Makes a disk that holds nothing, or what its parent does. Raises `usage`, `exists`, `no-space`, `unsupported`. */
export async function createDisk(
  target: string,
  options: CreateDiskOptions,
): Promise<MadeDisk & { kind?: VmdkKind }> {
  const doing = `creating ${target}`;
  const { format, size, parent } = options;
  if (size === undefined && parent === undefined) {
    throw new UserError('usage', `${doing}: say how large it shall be (--size 10G)`);
  }
  if (format !== 'vmdk' && (options.kind !== undefined || options.adapterType !== undefined)) {
    throw new UserError('usage', `${doing}: kinds and adapters are a VMDK's, and it would be ${format}`);
  }
  if (format === 'raw') return createRaw(target, { ...options, doing });
  if (format === 'qcow2') return createQcow2(target, { ...options, doing });
  const kind = options.kind ?? (await defaultKind(parent));
  const made = await makeDisk(target, { ...options, doing }, (staged, name) =>
    stageVmdk(staged, {
      name,
      ...madeOf(kind),
      size,
      ...(parent && { parent: parent.path }),
      adapterType: options.adapterType,
      signal: options.signal,
    }),
  );
  return { ...made, kind };
}

async function defaultKind(parent: NamedDisk | undefined): Promise<VmdkKind> {
  if (!parent) return 'monolithicSparse';
  const { descriptor } = await diskParts(parent);
  return descriptor?.createType.startsWith('vmfs') ? 'vmfsSparse' : 'monolithicSparse';
}

type Creating = CreateDiskOptions & { doing: string };

async function createRaw(target: string, { size = 0, parent, ...options }: Creating): Promise<MadeDisk> {
  if (parent) throw new UserError('usage', `${options.doing}: a raw disk has no parent; take qcow2 or vmdk`);
  return makeDisk(target, options, async (staged, name) => {
    const file = await staged.stage(name);
    await (
      await openRawFile(file.temporary, { create: { size: wholeSectors(size, options.doing) } })
    ).close();
    return [file.path];
  });
}

async function createQcow2(target: string, { size, parent, ...options }: Creating): Promise<MadeDisk> {
  return makeDisk(target, options, async (staged, name) => {
    const backing = parent && (await backingOf(parent, options));
    if (backing && size !== undefined && size < backing.size) {
      throw new UserError(
        'usage',
        `${options.doing}: its parent has ${backing.size} bytes, more than ${size}`,
      );
    }
    const file = await staged.stage(name);
    await createImage(file.temporary, {
      format: 'qcow2',
      size: wholeSectors(size ?? backing?.size ?? 0, options.doing),
      ...(backing && { backing }),
      signal: options.signal,
    });
    return [file.path];
  });
}

async function backingOf(
  parent: NamedDisk,
  { signal }: MakeDiskOptions,
): Promise<{ path: string; format: MadeFormat; size: number }> {
  const { device, format } = await openDiskFile(parent.path, {
    ...parent,
    option: '--parent-format',
    signal,
  });
  await device.close();
  return { path: (await diskParts(parent)).path, format, size: device.size };
}

type MadeFormat = Awaited<ReturnType<typeof openDiskFile>>['format'];

function wholeSectors(size: number, doing: string): number {
  if (size > 0 && size % 512 === 0) return size;
  throw new UserError('usage', `${doing}: a disk cannot have ${size} bytes; a multiple of 512 is wanted`);
}
