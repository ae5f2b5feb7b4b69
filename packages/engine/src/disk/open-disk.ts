/** A disk file of any format, or a block device, opened to be read. */
import { type BlockDevice, openRawFile } from '@prima/block';
import { type DetectedFormat, diskFormats, explainFormat, isDiskFormat } from '@prima/formats';
import { openWithQemu } from '@prima/qemu';
import { PrimaError, toPrimaError, UserError } from '@prima/base';

export interface OpenedDiskFile {
  device: BlockDevice;
  format: DetectedFormat['format'];
  /** Why it is taken for that: "it is named .img". */
  reason: string;
  /** The files that it is based on, nearest first. */
  basedOn: { path: string; format: string }[];
}

export interface OpenDiskFileOptions {
  /** Its format, where name and content do not tell. One of `diskFormats`. */
  format?: string;
  /** The option by which a person says it, for messages. */
  option: string;
  signal?: AbortSignal;
}

/**
 * Raises `not-found`, `permission`, `ambiguous` and `format` where the format does not show, `unsupported`, and what
 * the format's reader raises.
 */
export async function openDiskFile(path: string, options: OpenDiskFileOptions): Promise<OpenedDiskFile> {
  const { format, reason } = await formatOf(path, options);
  if (format === 'raw') return { device: await openRawFile(path), format, reason, basedOn: [] };
  const image = await openWithQemu(path, { format, signal: options.signal });
  const basedOn = image.chain.slice(1).map((file) => ({ path: file.path, format: file.format }));
  return { device: image, format, reason, basedOn };
}

/** The format that was told, or the one that shows; an unclear one says how to tell it. */
async function formatOf(path: string, { format, option }: OpenDiskFileOptions): Promise<DetectedFormat> {
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
