/** Whether a COWD extent has all its grain tables: QEMU 7.2 destroys the header of one that has not when it writes to it. */
import { cowdTableCount, isCowd, cowdHeaderBytes } from './cowd-header.ts';
import type { DiskFile } from './disk-file.ts';
import { readCowdHeader } from './esx-extents.ts';
import { sectorBytes } from './hosted-header.ts';
import { readUpTo } from './read-file.ts';

/** Entries that are read at once. */
const pieceEntries = 65_536;

/** True for a COWD extent whose directory has an entry without a table. Raises `format`. */
export async function lacksGrainTables(file: DiskFile): Promise<boolean> {
  if (!isCowd(await readUpTo(file, 0, cowdHeaderBytes))) return false;
  const { numSectors, grainSize, gdOffset } = await readCowdHeader(file);
  const count = cowdTableCount(numSectors, grainSize);
  for (let first = 0; first < count; first += pieceEntries) {
    const length = 4 * Math.min(pieceEntries, count - first);
    const bytes = await readUpTo(file, gdOffset * sectorBytes + 4 * first, length);
    for (let at = 0; at < length; at += 4)
      if (at + 4 > bytes.length || bytes.readUInt32LE(at) === 0) return true;
  }
  return false;
}
