/** A disk file in another format or kind, or a second disk like it: all of it or nothing. */
import { dirname } from 'node:path';
import { UserError } from '@prima/base';
import { openVmdk, type VmdkInfo } from '@prima/formats';
import { assertRoom, dataBytes } from '../restore/space.ts';
import type { StagedFiles } from '../restore/staged-files.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { type MadeDisk, makeDisk, type MakeDiskOptions } from './make-disk.ts';
import { type OpenedDiskFile, openDiskFile } from './open-disk.ts';
import { copyOwn, fillFrom, stageVmdk } from './stage-vmdk.ts';
import { kindLike, madeOf, type VmdkKind } from './vmdk-kinds.ts';
import { type ImageFormat, writeDisk } from './write-disk.ts';

export interface ConvertDiskOptions extends MakeDiskOptions {
  format: ImageFormat;
  /** Of a VMDK. Default: streamOptimized; of a clone, as its original. */
  kind?: VmdkKind;
  adapterType?: string;
  /** Like the original in all but its identity, where the format is the same. */
  clone?: boolean;
  /** Of a clone of a VMDK: only what it holds itself, over the same parent. */
  keepParent?: boolean;
}

export interface ConvertedDisk extends MadeDisk {
  kind?: VmdkKind;
  bytesRead: number;
  bytesWritten: number;
}

interface Copied {
  read: number;
  written: number;
}

/** Raises `exists`, `no-space`, and what opening and reading raise; on failure nothing is left behind. */
export async function convertDisk(
  source: NamedDisk,
  target: string,
  options: ConvertDiskOptions,
): Promise<ConvertedDisk> {
  const { signal, format } = options;
  const doing = `${options.clone ? 'cloning' : 'converting'} ${source.path} to ${target}`;
  if (format !== 'vmdk' && (options.kind !== undefined || options.adapterType !== undefined)) {
    throw new UserError('usage', `${doing}: kinds and adapters are a VMDK's, and it would be ${format}`);
  }
  const opened = await openDiskFile(source.path, { ...source, option: '--source-format', signal });
  try {
    const writing: Writing = { ...options, doing, source, opened };
    let copied: Copied = { read: 0, written: 0 };
    const kind = kindOf(writing);
    const made = await makeDisk(target, { ...options, doing }, async (staged, name) => {
      await assertRoom(staged.folder, options.keepParent ? 0 : await dataBytes(opened.device, signal));
      const written = await stageCopy(staged, name, { ...writing, kind });
      ({ copied } = written);
      return written.files;
    });
    return { ...made, ...(kind && { kind }), bytesRead: copied.read, bytesWritten: copied.written };
  } finally {
    await opened.device.close();
  }
}

interface Writing extends ConvertDiskOptions {
  doing: string;
  source: NamedDisk;
  opened: OpenedDiskFile;
}

function kindOf({ format, kind, clone, keepParent, doing, opened }: Writing): VmdkKind | undefined {
  const { vmdk } = opened;
  if (keepParent && (format !== 'vmdk' || vmdk?.parents[0] === undefined)) {
    throw new UserError('usage', `${doing}: only a VMDK that has a parent can keep it`);
  }
  if (format !== 'vmdk') return undefined;
  if (kind !== undefined) return kind;
  if (!clone) return 'streamOptimized';
  if (keepParent) return vmdk?.createType === 'vmfsSparse' ? 'vmfsSparse' : kindLikeChild(vmdk, doing);
  return vmdk ? kindLike(vmdk) : 'monolithicSparse';
}

function kindLikeChild(vmdk: VmdkInfo | undefined, doing: string): VmdkKind {
  const { createType } = vmdk ?? {};
  if (createType === 'monolithicSparse' || createType === 'twoGbMaxExtentSparse') return createType;
  if (createType === undefined || createType === 'seSparse') return 'vmfsSparse';
  throw new UserError('usage', `${doing}: say with --kind which kind of child it shall be`);
}

/** Copies to staged files; the first is the one that the disk is opened by. */
async function stageCopy(
  staged: StagedFiles,
  name: string,
  options: Writing & { kind: VmdkKind | undefined },
): Promise<{ files: string[]; copied: Copied }> {
  const { format, kind, signal, opened } = options;
  const { device } = opened;
  const onProgress: Parameters<typeof fillFrom>[1]['onProgress'] = (progress) =>
    options.onProgress?.(name, progress);
  if (format !== 'vmdk' || kind === undefined || kind === 'streamOptimized') {
    const file = await staged.stage(name);
    const copied = await writeDisk(device, file.temporary, { format, fileName: name, signal, onProgress });
    return { files: [file.path], copied };
  }
  let copied: Copied = { read: 0, written: 0 };
  const identity = { adapterType: options.adapterType ?? opened.vmdk?.adapterType, ddb: likeness(options) };
  const common = { name, ...madeOf(kind), ...identity, signal, onProgress };
  const parents = options.keepParent ? (opened.vmdk?.parents ?? []) : [];
  const parent = parents[0]?.path;
  const roots = parents.map(({ path }) => dirname(path));
  const files =
    parent === undefined
      ? await stageVmdk(staged, { ...common, size: device.size }, async (target) => {
          copied = await fillFrom(device, common)(target);
        })
      : await stageVmdk(staged, { ...common, parent, roots }, async (target) => {
          const { source } = options;
          const own = await openVmdk(source.path, { roots: source.allowed, parents: false, signal });
          try {
            copied = await copyOwn(own, target, common);
          } finally {
            await own.device.close();
          }
        });
  return { files, copied };
}

/** What of the disk database a clone takes over: not who the disk is, and not how its files are allocated. */
const kept: Readonly<Record<string, string>> = {
  comment: 'comment',
  toolsinstalltype: 'toolsInstallType',
  toolsversion: 'toolsVersion',
  virtualhwversion: 'virtualHWVersion',
};

const geometryKeys = ['cylinders', 'heads', 'sectors'] as const;

function likeness({ clone, opened, adapterType }: Writing): Record<string, string | number> {
  const { vmdk } = opened;
  if (!clone || !vmdk) return {};
  const entries = Object.entries(kept).flatMap(([key, spelling]) => {
    const value = vmdk.ddb.get(key);
    return value === undefined ? [] : [[spelling, value] as const];
  });
  const sameAdapter = adapterType === undefined || adapterType === vmdk.adapterType;
  const geometry = sameAdapter
    ? geometryKeys.map((key) => [`geometry.${key}`, vmdk.geometry[key]] as const)
    : [];
  return Object.fromEntries([...entries, ...geometry]);
}
