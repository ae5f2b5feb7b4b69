/**
 * The boot sector of NTFS (Microsoft, "NTFS Volume Boot Sector"; the Linux-NTFS documentation, "$Boot"), little-endian:
 *
 *   3 "NTFS    "   11 bytes a sector   13 sectors a cluster (above 128: 2^(256 - n))   40 sectors of the volume
 *   48 first cluster of $MFT   56 of $MFTMirr   64 clusters a file record (negative: 2^-n bytes)   68 the same of an index
 *   block   510 55 AA
 */
import { FormatError } from '@prima/base';

export interface NtfsVolume {
  sectorSize: number;
  sectors: number;
  clusterSize: number;
  clusters: number;
  recordBytes: number;
  indexBytes: number;
  mftCluster: number;
  mirrorCluster: number;
}

/** @param bytes at least 512. Raises `format` with the offset. */
export function parseNtfsBootSector(bytes: Buffer): NtfsVolume {
  if (bytes.length < 512) throw new FormatError(`a boot sector has 512 bytes, not ${bytes.length}`);
  if (bytes.toString('latin1', 3, 11) !== 'NTFS    ' || bytes.readUInt16BE(510) !== 0x55aa)
    fail(3, 'no NTFS');
  const sectorSize = bytes.readUInt16LE(11);
  const clusterSize = sectorSize * sectorsPerCluster(bytes.readUInt8(13));
  if (!isPower(sectorSize, 512, 4096)) fail(11, `sectors of ${sectorSize} bytes`);
  if (!isPower(clusterSize, sectorSize, 2 * 1024 * 1024)) fail(13, `clusters of ${clusterSize} bytes`);
  const sectors = number64(bytes, 40);
  const clusters = Math.floor((sectors * sectorSize) / clusterSize);
  if (sectors * sectorSize > 2 ** 52 || clusters < 16) fail(40, `${sectors} sectors`);
  const size = (at: number) => {
    const value = bytes.readInt8(at);
    const length = value < 0 ? 2 ** -value : value * clusterSize;
    if (!isPower(length, 512, 65_536)) fail(at, `records of ${length} bytes`);
    return length;
  };
  const volume = {
    sectorSize,
    sectors,
    clusterSize,
    clusters,
    recordBytes: size(64),
    indexBytes: size(68),
    mftCluster: number64(bytes, 48),
    mirrorCluster: number64(bytes, 56),
  };
  if (volume.mftCluster >= clusters || volume.mirrorCluster >= clusters)
    fail(48, 'a file table outside the volume');
  return volume;
}

function sectorsPerCluster(value: number): number {
  return value > 0x80 ? 2 ** (256 - value) : value;
}

function isPower(value: number, least: number, most: number): boolean {
  return value >= least && value <= most && Number.isInteger(Math.log2(value));
}

/** Above 2^53 it is not exact, and above every limit. */
function number64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64LE(at));
}

function fail(offset: number, found: string): never {
  throw new FormatError(`the boot sector has ${found} at byte ${offset}`, { details: { offset } });
}
