/** Images that are a part of another file, as members of an archive are: read through QEMU where they lie. */
import { open } from 'node:fs/promises';
import { FormatError, PrimaError, type Range, toPrimaError } from '@prima/base';
import { parseQcow2Header, qcow2HeaderBytes } from '@prima/formats';
import { type ImageDevice, openServed, type OpenImageOptions } from './image-device.ts';

/**
 * Opens what lies at `range` (whole sectors) of the file at `path`, read-only. Raises `unsupported` for an image that needs another
 * file: whoever made the archive has none of this computer to choose; and what `openWithQemu` raises.
 */
export async function openImageInFile(
  path: string,
  range: Range,
  options: Pick<OpenImageOptions, 'format' | 'signal' | 'timeoutMs' | 'runtimeFolder'>,
): Promise<ImageDevice> {
  const { format } = options;
  const doing = `opening the ${format} image at byte ${range.offset} of ${path}`;
  if (format === 'qcow2') await assertAlone(path, range, doing);
  const part = {
    driver: 'raw',
    offset: range.offset,
    size: range.length,
    file: { driver: 'file', filename: path },
  };
  const image = { driver: format, file: part, ...(format === 'qcow2' && { backing: null }) };
  return openServed(`json:${JSON.stringify(image)}`, [], { ...options, doing });
}

async function assertAlone(path: string, { offset, length }: Range, doing: string): Promise<void> {
  const bytes = await readStart(path, { offset, length: Math.min(length, qcow2HeaderBytes) }, doing);
  try {
    const { backingFile, hasDataFile } = parseQcow2Header(bytes);
    if (backingFile === undefined && !hasDataFile) return;
  } catch (error) {
    throw error instanceof FormatError
      ? new FormatError(`${doing}: ${error.message}`, { cause: error })
      : error;
  }
  throw new PrimaError('unsupported', `${doing}: it needs another file, which is not in it`);
}

async function readStart(path: string, { offset, length }: Range, doing: string): Promise<Buffer> {
  try {
    await using file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } catch (error) {
    throw toPrimaError(error, doing);
  }
}
