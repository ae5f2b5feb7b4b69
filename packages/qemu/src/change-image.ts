/** Checking and resizing images with qemu-img. */
import { FormatError } from '@prima/base';
import type { DiskFormat } from '@prima/formats';
import { type BlockToolOptions, qemuImg } from './block-tool.ts';
import { graphName, imageChain, parseInfo, topName } from './image-chain.ts';

export interface ImageCheck {
  corruptions: number;
  leaks: number;
  /** Places that could not be checked. */
  errors: number;
}

/** How `qemu-img check` says that it checked: sound, damaged, leaks. */
const verdicts: readonly number[] = [0, 2, 3];
/** Tables of the largest images take minutes to read. */
const checkMs = 3_600_000;

/**
 * @param options.repairLeaks frees what belongs to nothing. Raises `unsupported` for a format that cannot be checked, and
 * as `imageChain` does.
 */
export async function checkImage(
  path: string,
  format: DiskFormat,
  options: BlockToolOptions & { repairLeaks?: boolean } = {},
): Promise<ImageCheck> {
  const { repairLeaks = false, ...rest } = options;
  const chain = await imageChain(path, format, rest);
  const repair = repairLeaks ? ['-r', 'leaks'] : [];
  const args = ['check', '--output=json', ...repair, topName(chain)];
  const { stdout } = await qemuImg(args, `checking ${path}`, {
    timeoutMs: checkMs,
    ...rest,
    accept: verdicts,
  });
  const found = parseInfo(stdout, path);
  const number = (key: string) => {
    const value = found[key] ?? 0;
    if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
    throw new FormatError(`qemu-img check of ${path}: ${key} is ${JSON.stringify(value)}`);
  };
  return { corruptions: number('corruptions'), leaks: number('leaks'), errors: number('check-errors') };
}

/** Grows an image. Raises as `imageChain` does, `unsupported` for a format that QEMU cannot resize. */
export async function growImage(
  path: string,
  { format, size }: { format: DiskFormat; size: number },
  options: BlockToolOptions = {},
): Promise<void> {
  const chain = await imageChain(path, format, options);
  await qemuImg(['resize', '-q', graphName(chain), String(size)], `resizing ${path}`, options);
}
