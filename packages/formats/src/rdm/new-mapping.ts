/** The two files of a new raw device mapping (docs/format/raw-device-mapping.md): a descriptor as ESX's, and the mapping file. */
import type { Random } from '@prima/base';
import { formatCid, newCid, newDescriptor, writeDescriptor } from '../vmdk/descriptor-write.ts';
import { geometryOf } from '../vmdk/geometry.ts';
import { sectorBytes } from '../vmdk/hosted-header.ts';
import { type MappingFile, writeMapping } from './mapping-file.ts';

const suffixes = { virtual: '-rdm', physical: '-rdmp' } as const;

/** The name of the mapping file that belongs to a descriptor called `name`. */
export function mappingName(name: string, mode: keyof typeof suffixes): string {
  return `${name.replace(/\.vmdk$/i, '')}${suffixes[mode]}.vmdk`;
}

export interface NewMapping extends MappingFile {
  /** The descriptor's file name. */
  name: string;
  mode: keyof typeof suffixes;
}

/** What goes into the descriptor, and into the file of `mappingName`. */
export function newMapping(
  { name, mode, ...mapping }: NewMapping,
  random: Random,
): { descriptor: Buffer; mapping: Buffer } {
  const cid = newCid(random);
  const adapterType = 'lsilogic';
  const { cylinders, heads, sectors } = geometryOf(mapping.size, adapterType);
  const longId = Buffer.from(random.bytes(new Uint8Array(12))).toString('hex');
  const descriptor = newDescriptor({
    cid,
    createType: mode === 'physical' ? 'vmfsPassthroughRawDeviceMap' : 'vmfsRawDeviceMap',
    extents: [
      {
        access: 'RW',
        sectors: mapping.size / sectorBytes,
        type: 'VMFSRDM',
        file: mappingName(name, mode),
        offset: 0,
      },
    ],
    ddb: {
      adapterType,
      'geometry.cylinders': cylinders,
      'geometry.heads': heads,
      'geometry.sectors': sectors,
      virtualHWVersion: 7,
      longContentID: longId + formatCid(cid),
    },
  });
  return { descriptor: writeDescriptor(descriptor), mapping: Buffer.from(writeMapping(mapping)) };
}
