/**
 * Whether the log of XFS is clean (XFS Algorithms and Data Structures, "Journaling Log"): whether the last thing in it is
 * the record that unmounting writes. The log is a ring of blocks of 512 bytes. Each begins with the number of the cycle
 * that wrote it, but for the first of a record, which begins with its header, big-endian:
 *
 *   0 FE ED BA BE   4 cycle   8 version   12 length of what follows   40 operations   320 size of the record's buffer
 *
 * The operation of unmounting: 8 client AA, 9 flags 20.
 */
import { type MetadataReader, refuse } from '../metadata-reader.ts';

const unit = 512;
const magic = 0xfeedbabe;
const unmountFlag = 0x20;
/** Eight buffers of 256 KiB: what may have been on its way to the log when the system went down. */
const inFlightBlocks = (8 * 256 * 1024) / unit;
/** A record's header and data take no more. */
const mostRecordBlocks = 2 * 512 + 16;

/** @param place bytes of the log in the partition. Raises `refused` unless it is clean. */
export async function assertCleanLog(
  reader: MetadataReader,
  place: { offset: number; length: number },
): Promise<void> {
  const count = Math.floor(place.length / unit);
  const cycleAt = async (block: number) => cycleOf(await reader.read(place.offset + block * unit, unit));
  const first = await cycleAt(0);
  if (first === 0) refuse('its log is empty');
  const head = await findHead(cycleAt, first, count);
  await assertNothingBehind(reader, { place, head, count, cycle: first });
  const window = Math.min(mostRecordBlocks, count);
  const before = await readRing(reader, { place, first: head - window, blocks: window });
  for (let back = 1; back <= window; back += 1) {
    const at = (window - back) * unit;
    if (before.readUInt32BE(at) !== magic) continue;
    if (isUnmountRecord(before.subarray(at))) return;
    break;
  }
  refuse('its log has to be replayed: it was not unmounted cleanly');
}

/** The number of the cycle that wrote a block. */
function cycleOf(block: Buffer): number {
  const word = block.readUInt32BE(0);
  return word === magic ? block.readUInt32BE(4) : word;
}

/** The first block that the current cycle has not written; 0 when it has written all. */
async function findHead(
  cycleAt: (block: number) => Promise<number>,
  first: number,
  count: number,
): Promise<number> {
  if ((await cycleAt(count - 1)) === first) return 0;
  let [low, high] = [0, count - 1];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if ((await cycleAt(middle)) === first) low = middle;
    else high = middle;
  }
  return high;
}

/** Refuses when blocks behind the head are of the current cycle: writes that overtook others, in a crash. */
async function assertNothingBehind(
  reader: MetadataReader,
  {
    place,
    head,
    count,
    cycle,
  }: { place: { offset: number; length: number }; head: number; count: number; cycle: number },
): Promise<void> {
  if (head === 0) return;
  const blocks = Math.min(inFlightBlocks, count - head);
  const bytes = await reader.read(place.offset + head * unit, blocks * unit);
  for (let i = 0; i < blocks; i += 1) {
    const found = cycleOf(bytes.subarray(i * unit, (i + 1) * unit));
    if (found !== cycle - 1 && found !== 0) refuse('its log has holes: it was not unmounted cleanly');
  }
}

/** Blocks of the ring from `first` (which may be negative) on. */
async function readRing(
  reader: MetadataReader,
  { place, first, blocks }: { place: { offset: number; length: number }; first: number; blocks: number },
): Promise<Buffer> {
  const count = Math.floor(place.length / unit);
  const from = ((first % count) + count) % count;
  const until = Math.min(count, from + blocks);
  const head = await reader.read(place.offset + from * unit, (until - from) * unit);
  const rest = blocks - (until - from);
  return rest === 0 ? head : Buffer.concat([head, await reader.read(place.offset, rest * unit)]);
}

/** True when `bytes`, which begin with a record and end where the log does, are the record of unmounting and nothing else. */
export function isUnmountRecord(bytes: Buffer): boolean {
  if (bytes.length < 2 * unit) return false;
  const size = bytes.readUInt32BE(320);
  const isSecondVersion = (bytes.readUInt32BE(8) & 2) !== 0;
  const headerBlocks = isSecondVersion && size > 32_768 ? Math.ceil(size / 32_768) : 1;
  const dataBlocks = Math.ceil(bytes.readUInt32BE(12) / unit);
  if ((headerBlocks + dataBlocks) * unit !== bytes.length || dataBlocks === 0) return false;
  const operation = bytes.subarray(headerBlocks * unit);
  return (
    bytes.readUInt32BE(40) === 1 &&
    operation.readUInt8(8) === 0xaa &&
    (operation.readUInt8(9) & unmountFlag) !== 0
  );
}
