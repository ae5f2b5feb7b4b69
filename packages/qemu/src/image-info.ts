/** What an image says of itself, and the dirty bitmaps in a qcow2 file that no machine has open. */
import { FormatError } from '@prima/base';
import type { DiskFormat } from '@prima/formats';
import { type BlockToolOptions, qemuImg } from './block-tool.ts';
import { imageChain, type ImageFile, parseInfo, topName } from './image-chain.ts';
import { isJsonObject, type JsonObject } from './json-lines.ts';

export interface ImageBitmap {
  name: string;
  /** Bytes that one bit stands for. */
  granularity: number;
  /** `auto`: follows writes once opened. `in-use`: was not closed properly and cannot be used any more. */
  flags: string[];
}

export interface ImageInfo extends ImageFile {
  /** Bytes that a machine sees. */
  virtualSize: number;
  /** Bytes that the file takes on its disk; undefined where that is unknown. */
  actualSize?: number;
  /** The whole chain, this image first. */
  chain: ImageFile[];
  bitmaps: ImageBitmap[];
  /** Names of the internal snapshots. */
  snapshots: string[];
  /** The image was not closed properly. */
  isDirty: boolean;
}

const mostBitmaps = 65_535; // the qcow2 specification's limit

/**
 * Looks at an image without opening its backing files. A running machine may have it open; what is said
 * of its bitmaps is then what was stored last. Raises as `imageChain` does.
 */
export async function imageInfo(
  path: string,
  format: DiskFormat,
  options: BlockToolOptions = {},
): Promise<ImageInfo> {
  const chain = await imageChain(path, format, options);
  const args = ['info', '--output=json', '--force-share', topName(chain)];
  const { stdout } = await qemuImg(args, `looking at ${path}`, options);
  const info = parseInfo(stdout, path);
  const [top] = chain;
  if (!top) throw new FormatError(`${path} has no chain`);
  return {
    ...top,
    chain,
    virtualSize: sizeOf(info, 'virtual-size', path),
    actualSize: info['actual-size'] === undefined ? undefined : sizeOf(info, 'actual-size', path),
    bitmaps: bitmapsOf(info, path),
    snapshots: snapshotsOf(info, path),
    isDirty: info['dirty-flag'] === true,
  };
}

/**
 * Adds a persistent bitmap that follows writes from now on. Raises `exists`, `busy`, `not-found` …
 * @param options.granularityBytes a power of two, 512 B to 2 GiB; default 64 KiB
 */
export async function addBitmap(
  path: string,
  name: string,
  options: BlockToolOptions & { granularityBytes?: number } = {},
): Promise<void> {
  const granularity = String(options.granularityBytes ?? 65_536);
  await bitmapCommand(path, ['--add', '-g', granularity], name, options);
}

/** Removes a bitmap, also one that cannot be used any more. Raises `not-found` when it is not there. */
export async function removeBitmap(
  path: string,
  name: string,
  options: BlockToolOptions = {},
): Promise<void> {
  await bitmapCommand(path, ['--remove'], name, options);
}

/** Adds to `target` what `sources` mark; all are in the same file and usable. */
export async function mergeBitmaps(
  path: string,
  target: string,
  sources: readonly string[],
  options: BlockToolOptions = {},
): Promise<void> {
  await bitmapCommand(
    path,
    sources.flatMap((source) => ['--merge', source]),
    target,
    options,
  );
}

async function bitmapCommand(
  path: string,
  actions: readonly string[],
  name: string,
  { timeoutMs, signal }: BlockToolOptions,
): Promise<void> {
  const chain = await imageChain(path, 'qcow2', { timeoutMs, signal });
  const what = `changing bitmap ${name} (${actions[0]}) of ${path}`;
  await qemuImg(['bitmap', ...actions, '--', topName(chain), name], what, { timeoutMs, signal });
}

function bitmapsOf(info: JsonObject, path: string): ImageBitmap[] {
  const specific = isJsonObject(info['format-specific']) ? info['format-specific'].data : undefined;
  const list = isJsonObject(specific) ? specific.bitmaps : undefined;
  if (list === undefined) return [];
  if (!Array.isArray(list) || list.length > mostBitmaps)
    throw new FormatError(`${path}: its bitmaps are no list`);
  return list.map((entry: unknown) => {
    const { name, granularity, flags } = isJsonObject(entry) ? entry : {};
    if (typeof name !== 'string' || typeof granularity !== 'number' || !Array.isArray(flags)) {
      throw new FormatError(`${path}: a bitmap without name, granularity or flags`);
    }
    return { name, granularity, flags: flags.map(String) };
  });
}

function snapshotsOf({ snapshots = [] }: JsonObject, path: string): string[] {
  if (!Array.isArray(snapshots)) throw new FormatError(`${path}: its snapshots are no list`);
  return snapshots.map((entry: unknown) => String(isJsonObject(entry) ? entry.name : entry));
}

function sizeOf(info: JsonObject, key: string, path: string): number {
  const value = info[key];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new FormatError(`qemu-img info of ${path}: ${key} is ${JSON.stringify(value)}`);
}
