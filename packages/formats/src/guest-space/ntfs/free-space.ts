/** The free space of NTFS; docs/format/guest-space.md says what is checked, and why that is enough. */
import { MiB, type Range } from '@prima/base';
import { assertApart, clearRuns, FreeRanges } from '../free-ranges.ts';
import { type MetadataReader, refuse } from '../metadata-reader.ts';
import { type NtfsVolume, parseNtfsBootSector } from './boot-sector.ts';
import { assertNotHibernated } from './hibernation.ts';
import { assertCleanLogFile } from './log-file.ts';
import { type Attribute, attributeType } from './record.ts';
import {
  allPlaces,
  openVolume,
  placesOf,
  readAttribute,
  readFileRecord,
  theOnly,
  type Volume,
} from './volume.ts';

/** Numbers of the file records that NTFS keeps for itself. */
const own = { mirror: 1, logFile: 2, volume: 3, bitmap: 6 } as const;
/** "Changed by a check of the disk" says nothing against the volume; all other flags do. */
const harmlessFlags = 0x8000;
const mirrored = 4;

/** Free ranges, bytes from the partition's beginning. Raises `refused` or `format` with the reason why there are none. */
export async function ntfsFreeSpace(reader: MetadataReader, smallest?: number): Promise<Range[]> {
  const boot = await reader.read(0, 512);
  const shape = parseNtfsBootSector(boot);
  const end = shape.sectors * shape.sectorSize;
  if (end + shape.sectorSize > reader.length) refuse(`it has ${end} bytes, its partition ${reader.length}`);
  const copy = await reader.read(end, 512);
  if (!copy.equals(boot)) refuse('the copy of its boot sector behind it differs');
  const volume = await openVolume(reader, shape);
  await assertMirrored(volume);
  assertNotDirty(await readFileRecord(volume, own.volume));
  const log = theOnly(await readFileRecord(volume, own.logFile), attributeType.data, '$LogFile');
  await assertCleanLogFile(volume, log);
  await assertNotHibernated(volume);
  const bitmap = theOnly(await readFileRecord(volume, own.bitmap), attributeType.data, '$Bitmap');
  const free = new FreeRanges(smallest);
  await addClusters(free, volume, bitmap);
  const ranges = free.list();
  const used = [volume.table, log, bitmap].flatMap((attribute) => allPlaces(shape, attribute));
  assertApart(ranges, [...used, ...reader.ranges], 'structures of the file system');
  return ranges;
}

/** The first records are there twice, and Windows writes both. */
async function assertMirrored(volume: Volume): Promise<void> {
  const { reader, shape, table } = volume;
  const length = mirrored * shape.recordBytes;
  const first = await readAttribute(volume, table, { offset: 0, length });
  const second = await reader.read(shape.mirrorCluster * shape.clusterSize, length);
  if (!first.equals(second)) refuse('$MFT and its mirror differ');
}

/** $VOLUME_INFORMATION: 8 major, 9 minor version, 10 flags. */
function assertNotDirty(attributes: readonly Attribute[]): void {
  const { value } = theOnly(attributes, attributeType.volumeInformation, '$Volume');
  if (!value || value.length < 12) return refuse('$Volume says nothing about its state');
  const [version, flags] = [`${value[8]}.${value[9]}`, value.readUInt16LE(10)];
  if (version !== '3.1' && version !== '3.0') refuse(`it is of the version ${version}`);
  if ((flags & 1) !== 0) refuse('it is marked as dirty: it was not unmounted cleanly');
  if ((flags & ~harmlessFlags) !== 0)
    refuse(`something is still to be done on it: flags 0x${flags.toString(16)}`);
}

async function addClusters(free: FreeRanges, volume: Volume, bitmap: Attribute): Promise<void> {
  const { clusters, clusterSize }: NtfsVolume = volume.shape;
  const bytes = Math.ceil(clusters / 8);
  if (bitmap.size < bytes) refuse(`$Bitmap has ${bitmap.size} bytes for ${clusters} clusters`);
  if (bitmap.runs) placesOf(volume.shape, bitmap, { offset: 0, length: bytes });
  for (let offset = 0; offset < bytes; offset += MiB) {
    const length = Math.min(MiB, bytes - offset);
    const piece = await readAttribute(volume, bitmap, { offset, length });
    const bits = Math.min(length * 8, clusters - offset * 8);
    for (const { first, end } of clearRuns(piece, bits)) {
      free.add((offset * 8 + first) * clusterSize, (end - first) * clusterSize);
    }
  }
}
