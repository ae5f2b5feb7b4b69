/**
 * The geometry of a disk: cylinders, heads and sectors for guests that ask the BIOS. Where a file says nothing (the
 * flat disks of ESX 1 and 2 have no descriptor) it follows from the size, as VMware's adapters do it: IDE 16 heads of
 * 63 sectors, at most 16,383 cylinders; SCSI 255 of 63, and 64 of 32 below 1 GiB.
 */
import { GiB } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';

export interface DiskGeometry {
  cylinders: number;
  heads: number;
  sectors: number;
}

const ideCylinderLimit = 16_383;

/** @param adapterType `ide`, or any other, which is SCSI's. */
export function geometryOf(sizeBytes: number, adapterType: string): DiskGeometry {
  const isIde = adapterType.toLowerCase() === 'ide';
  const [heads, sectors] = isIde ? [16, 63] : sizeBytes < GiB ? [64, 32] : [255, 63];
  const cylinders = Math.max(1, Math.floor(sizeBytes / sectorBytes / (heads * sectors)));
  return { cylinders: isIde ? Math.min(cylinders, ideCylinderLimit) : cylinders, heads, sectors };
}

/** What a disk database says; undefined unless all three are there. */
export function geometryFrom(ddb: ReadonlyMap<string, string>): DiskGeometry | undefined {
  const number = (key: string) => Number(ddb.get(`geometry.${key}`));
  const geometry = { cylinders: number('cylinders'), heads: number('heads'), sectors: number('sectors') };
  return Object.values(geometry).every((value) => Number.isSafeInteger(value) && value > 0)
    ? geometry
    : undefined;
}
