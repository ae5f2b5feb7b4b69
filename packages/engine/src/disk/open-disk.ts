/** A disk file of any format, or a block device, opened to be read. */
import { type BlockDevice, openRawFile } from '@prima/block';
import { PrimaError, toPrimaError, UserError } from '@prima/base';
import type { VmdkInfo } from '@prima/formats';
import { type DetectedFormat, diskFormats, explainFormat, isDiskFormat } from '@prima/formats/detect';
import type { FoundLun } from '@prima/qemu';

export interface OpenedDiskFile {
  device: BlockDevice;
  format: DetectedFormat['format'];
  /** Why it is taken for that: "it is named .img". */
  reason: string;
  /** The files that it is based on, nearest first. */
  basedOn: { path: string; format: string }[];
  /** Every file that is read, the one that was named first. */
  files: string[];
  /** Of a VMDK, what its descriptors say. */
  vmdk?: VmdkInfo;
  /** The device that holds its data, where it is a raw device mapping, or over one. */
  lun?: FoundLun;
}

export interface OpenDiskFileOptions {
  /** Its format, where name and content do not tell. One of `diskFormats`. */
  format?: string;
  /** The option by which a person says it, for messages. */
  option: string;
  /** Folders in which a VMDK's extents and parents may be, besides its own. */
  allowed?: readonly string[];
  /** False where the disk comes from somebody else, who has no device of this computer to choose: mappings raise `unsupported`. */
  mappings?: boolean;
  signal?: AbortSignal;
}

/**
 * Raises `not-found`, `permission`, `ambiguous` and `format` where the format does not show, `unsupported`, `busy` where
 * a QEMU writes to it, and what the format's reader raises.
 */
export async function openDiskFile(path: string, options: OpenDiskFileOptions): Promise<OpenedDiskFile> {
  const { format, reason } = await formatOf(path, options);
  if (format === 'raw') {
    return { device: await openRawFile(path), format, reason, basedOn: [], files: [path] };
  }
  if (format === 'vmdk') {
    const { openVmdkFile } = await import('./open-vmdk-file.ts');
    return { format, reason, ...(await openVmdkFile(path, options)) };
  }
  const { openWithQemu } = await import('@prima/qemu');
  const image = await openWithQemu(path, { format, signal: options.signal });
  const [, ...below] = image.chain;
  const basedOn = below.map((file) => ({ path: file.path, format: file.format }));
  const files = image.chain.flatMap(({ path: file, dataFile }) => [file, ...(dataFile ? [dataFile] : [])]);
  return { device: image, format, reason, basedOn, files };
}

/** The format that was told, or the one that shows; an unclear one says how to tell it. */
export async function formatOf(
  path: string,
  { format, option }: Pick<OpenDiskFileOptions, 'format' | 'option'>,
): Promise<DetectedFormat> {
  if (format !== undefined) {
    if (isDiskFormat(format)) return { format, reason: 'you said so' };
    throw new UserError('usage', `"${format}" is not a disk format; write ${diskFormats.join(', ')}`);
  }
  try {
    return await explainFormat(path);
  } catch (error) {
    const failure = toPrimaError(error, `looking at ${path}`);
    if (failure.code !== 'ambiguous' && failure.code !== 'format') throw failure;
    throw new PrimaError(failure.code, `${failure.message} (${option})`, { cause: failure });
  }
}
