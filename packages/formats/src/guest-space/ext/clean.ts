/** What has to be so before anything that ext2, ext3 and ext4 call free may be believed. */
import type { MetadataReader } from '../metadata-reader.ts';
import { refuse } from '../metadata-reader.ts';
import { compatible, type ExtSuperblock, incompatible } from './superblock.ts';

/**
 * Features that are known and do not change what is free: dir_prealloc, imagic, has_journal, ext_attr, resize_inode,
 * dir_index, sparse_super2, fast_commit, stable_inodes, orphan_file.
 */
const knownCompatible = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x200 | 0x400 | 0x800 | 0x1000;
/**
 * filetype, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt, casefold. Not
 * compression and dirdata, of which no kernel of today writes anything.
 */
const knownIncompatible =
  0x2 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000;
/**
 * sparse_super, large_file, btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc, metadata_csum,
 * readonly, project, verity. Not has_snapshot and shared_blocks, where a block may have two owners, nor orphan_present.
 */
const knownReadOnly =
  0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x8000;

const cleanState = 1;
const mmpMagic = 0x004d4d50;
const mmpClean = 0xff4d4d50;
const journalMagic = 0xc03b3998;
const extentMagic = 0xf30a;
const extentsFlag = 0x80000;

/** Refuses what was not unmounted cleanly, and what is not known. Pure. */
export function assertCleanSuperblock(superblock: ExtSuperblock): void {
  const { state, errors, lastOrphan } = superblock;
  if ((superblock.incompatible & incompatible.recover) !== 0)
    refuse('its journal has to be replayed: it was in use');
  if ((state & 2) !== 0 || errors > 0) refuse('it has noted errors in itself');
  if (state !== cleanState) refuse('it was not unmounted cleanly');
  if (lastOrphan !== 0 || (superblock.readOnly & 0x10000) !== 0)
    refuse('deleted files are still to be cleaned up');
  const unknown = [
    ['compatible', superblock.compatible & ~knownCompatible],
    ['incompatible', superblock.incompatible & ~knownIncompatible],
    ['read-only compatible', superblock.readOnly & ~knownReadOnly],
  ] as const;
  for (const [kind, bits] of unknown) {
    if (bits !== 0)
      refuse(`it has ${kind} features that Prima does not know: 0x${(bits >>> 0).toString(16)}`);
  }
}

/** Refuses when another host has it mounted (multiple mount protection). */
export async function assertNotMounted(reader: MetadataReader, superblock: ExtSuperblock): Promise<void> {
  if ((superblock.incompatible & incompatible.mmp) === 0) return;
  const { mountProtectionBlock, blockSize } = superblock;
  const block = await reader.read(mountProtectionBlock * blockSize, 1024);
  if (block.readUInt32LE(0) !== mmpMagic) refuse('its block of multiple mount protection is damaged');
  if (block.readUInt32LE(4) !== mmpClean) refuse('multiple mount protection says that it is in use');
}

/** Refuses when the journal has anything in it, whatever the superblock says. @param inodeTable block of group 0's inodes */
export async function assertEmptyJournal(
  reader: MetadataReader,
  superblock: ExtSuperblock,
  inodeTable: number,
): Promise<void> {
  const { journalInode, inodeSize, inodesPerGroup, blockSize } = superblock;
  if ((superblock.compatible & compatible.hasJournal) === 0) return;
  if (journalInode === 0) refuse('its journal is on another device');
  if (journalInode > inodesPerGroup) refuse(`its journal is inode ${journalInode}`);
  const inode = await reader.read(inodeTable * blockSize + (journalInode - 1) * inodeSize, 128);
  const first = await firstBlock(reader, { inode, blockSize });
  if (first === 0) refuse('its journal has no first block');
  const journal = await reader.read(first * blockSize, 1024);
  if (journal.readUInt32BE(0) !== journalMagic) refuse('its journal is damaged');
  if (journal.readUInt32BE(28) !== 0) refuse('its journal is not empty');
}

async function firstBlock(
  reader: MetadataReader,
  { inode, blockSize }: { inode: Buffer; blockSize: number },
): Promise<number> {
  let node: Buffer = inode.subarray(40, 100);
  if ((inode.readUInt32LE(32) & extentsFlag) === 0) return node.readUInt32LE(0);
  for (let level = 0; level < 6; level += 1) {
    if (node.readUInt16LE(0) !== extentMagic || node.readUInt16LE(2) === 0)
      refuse('the map of its journal is damaged');
    if (node.readUInt32LE(12) !== 0) refuse('its journal has a hole');
    if (node.readUInt16LE(6) === 0) return node.readUInt16LE(18) * 2 ** 32 + node.readUInt32LE(20);
    node = await reader.read(
      (node.readUInt16LE(20) * 2 ** 32 + node.readUInt32LE(16)) * blockSize,
      blockSize,
    );
  }
  return refuse('the map of its journal is too deep');
}
