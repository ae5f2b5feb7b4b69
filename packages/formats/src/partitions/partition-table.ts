/** What a disk's partition table says, whatever kind it is. */
import type { FileSystemInfo } from './signatures.ts';

export interface Partition {
  /** As the guest numbers it: 1 to 4 and from 5 on in an MBR, the entry's number in a GPT; 0 for the whole disk. */
  index: number;
  /** Bytes on the disk. */
  offset: number;
  length: number;
  /** `0x83`, a GUID in lower case, or empty for a disk without a table. */
  typeId: string;
  /** What the type is called; `unknown` for one that is not in our list. */
  typeName: string;
  /** Only a GPT has names. */
  name?: string;
  /** Of the partition itself: a GPT's unique GUID. */
  uuid?: string;
  bootable: boolean;
  /** What its first bytes show; undefined when they show nothing that is known. */
  fileSystem?: FileSystemInfo;
  /** What else they show; one of them all is stale then. */
  alsoShows?: string[];
}

export interface PartitionTable {
  /** `none`: what the disk holds begins at its first byte, or nothing is there. */
  kind: 'gpt' | 'mbr' | 'none';
  /** Bytes that the table counts in: 512 or 4096. */
  sectorSize: number;
  /** A GPT's disk GUID, or an MBR's signature as eight hex digits. */
  diskId?: string;
  /** Ascending by offset. */
  partitions: Partition[];
  /** What a person should know: damage, a table used instead of another, signatures that contradict each other. */
  notes: string[];
  /**
   * Everything about the table is as it has to be: both copies of a GPT are whole and agree, all partitions lie on the
   * disk and none overlaps another.
   */
  intact: boolean;
}
