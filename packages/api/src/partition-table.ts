/** What a disk's partition table says, as `show` tells it. */
import { z } from 'zod';
import { bytes, count } from './values.ts';

/** Offsets and lengths in bytes. */
export const PartitionDto = z.object({
  index: count,
  offset: bytes,
  length: bytes,
  /** `0x83`, or a GUID. */
  typeId: z.string(),
  typeName: z.string(),
  name: z.string().optional(),
  uuid: z.string().optional(),
  bootable: z.boolean(),
  fileSystem: z
    .object({
      /** `ext4`, `ntfs`, `LVM2 member` … */
      kind: z.string(),
      role: z.enum(['file-system', 'member', 'swap']),
      label: z.string().optional(),
      uuid: z.string().optional(),
      blockSize: count.optional(),
    })
    .optional(),
});
export type PartitionDto = z.infer<typeof PartitionDto>;

export const PartitionTableDto = z.object({
  /** `none`: one partition of index 0 is what lies directly on the disk. */
  kind: z.enum(['gpt', 'mbr', 'none']),
  sectorSize: count,
  diskId: z.string().optional(),
  /** Ascending by offset. */
  partitions: z.array(PartitionDto),
  /** Damage and oddities, for people. */
  notes: z.array(z.string()),
});
export type PartitionTableDto = z.infer<typeof PartitionTableDto>;
