/** Writes what a device holds to a new file in one of the formats that Prima makes. */
import type { Progress } from '@prima/base';
import { type BlockDevice, copyDevice, openRawFile } from '@prima/block';
import { writeQcow2File, writeVmdkStreamFile } from '@prima/formats';

export const imageFormats = ['raw', 'qcow2', 'vmdk'] as const;
export type ImageFormat = (typeof imageFormats)[number];

export interface WriteDiskOptions {
  format: ImageFormat;
  /** What the file will be called once it is whole: descriptors name it. */
  fileName: string;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/** Bytes read and written. The file at `path` must not be there; it is durable afterwards. */
export async function writeDisk(
  source: BlockDevice,
  path: string,
  { format, fileName, ...options }: WriteDiskOptions,
): Promise<{ read: number; written: number }> {
  if (format === 'qcow2') return writeQcow2File(source, path, options);
  // compressed and in one piece: what ESX, OVF and archives take
  if (format === 'vmdk') return writeVmdkStreamFile(source, path, { ...options, fileName });
  const image = await openRawFile(path, { create: { size: source.size } });
  try {
    const copied = await copyDevice(source, image, { ...options, targetIsZero: true });
    await image.flush();
    return copied;
  } finally {
    await image.close();
  }
}
