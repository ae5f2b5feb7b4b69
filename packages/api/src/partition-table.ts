/** What a disk's partition table says, as `show` tells it. */
export interface PartitionTableDto {
  /** `none`: one partition of index 0 is what lies directly on the disk. */
  kind: 'gpt' | 'mbr' | 'none';
  sectorSize: number;
  diskId?: string;
  /** Ascending by offset. */
  partitions: PartitionDto[];
  /** Damage and oddities, for people. */
  notes: string[];
}

/** Offsets and lengths in bytes. */
export interface PartitionDto {
  index: number;
  offset: number;
  length: number;
  /** `0x83`, or a GUID. */
  typeId: string;
  typeName: string;
  name?: string;
  uuid?: string;
  bootable: boolean;
  fileSystem?: {
    /** `ext4`, `ntfs`, `LVM2 member` … */
    kind: string;
    role: 'file-system' | 'member' | 'swap';
    label?: string;
    uuid?: string;
    blockSize?: number;
  };
}
