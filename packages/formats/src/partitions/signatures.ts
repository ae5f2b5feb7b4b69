/**
 * What lies in a partition (or on a whole disk), told by magic numbers at fixed places: file systems, and members of
 * something larger (LVM, RAID, encryption), of which the partition alone shows nothing.
 *
 *   at               what                                     at             what
 *   3                "NTFS", "EXFAT", "ReFS", "-FVE-FS-"      1024 + 56      53 EF (ext2, ext3, ext4)
 *   0                "XFSB", "LUKS" BA BE, "bluestore block"  1024           10 20 F5 F2 (F2FS), "H+", "HX"
 *   32               "NXSB" (APFS), "ORCLDISK" (Oracle ASM)   1024 … 65536   page's end - 10: "SWAPSPACE2"
 *   54, 82           "FAT12", "FAT16", "FAT32"                32769          "CD001" (ISO 9660)
 *   0, 512 … 1536    "LABELONE" … "LVM2 001"                  65536 + 64     "_BHRfS_M" (btrfs)
 *   4096 + 24        bcache                                   128 Ki + n Ki  0C B1 BA 00 (a ZFS uberblock)
 *   0, 4096, end     FC 4E 2B A9 (Linux RAID 1.1, 1.2; 1.0    1 Mi           0D D0 01 C0 (a VMFS volume)
 *                    8 KiB, 0.90 64 KiB before the end)
 */
import { alignDown, KiB, MiB, type Range } from '@prima/base';
import { bootSectorRules } from './signatures-boot.ts';
import { parseUuid } from './guid.ts';

export interface FileSystemInfo {
  /** `ext4`, `xfs`, `ntfs`, `vfat` …, or of what it is a member: `LVM2 member`, `LUKS`, `swap`. */
  kind: string;
  /** `member`: a piece of something larger, whose content cannot be told from here. */
  role: 'file-system' | 'member' | 'swap';
  label?: string;
  uuid?: string;
  /** The unit of allocation, bytes. */
  blockSize?: number;
}

/** Bytes of a partition, with where they lie in it. */
export interface Window {
  offset: number;
  bytes: Buffer;
}

/** Looks for one signature; `at` gives so many bytes from an offset, or undefined where none were read. */
export type SignatureRule = (
  at: (offset: number, length: number) => Buffer | undefined,
) => FileSystemInfo | undefined;

const headBytes = 256 * KiB;

/** What has to be read of a partition of `length` bytes for `findSignatures`. */
export function signatureRanges(length: number): Range[] {
  const wanted: Range[] = [
    { offset: 0, length: headBytes },
    { offset: MiB, length: 512 },
    { offset: raidAtEnd(length), length: 512 },
    { offset: oldRaidAtEnd(length), length: 512 },
  ];
  return wanted
    .filter(({ offset }) => offset >= 0 && offset < length)
    .map(({ offset, length: bytes }) => ({ offset, length: Math.min(bytes, length - offset) }));
}

/**
 * Every signature that is there, the surest first. More than one is a sign that the partition was something else before
 * and that one of them is stale. Pure; raises nothing, whatever the bytes are.
 */
export function findSignatures(windows: readonly Window[], length: number): FileSystemInfo[] {
  const at = (offset: number, bytes: number): Buffer | undefined => {
    const window = windows.find(
      (candidate) =>
        candidate.offset <= offset && offset + bytes <= candidate.offset + candidate.bytes.length,
    );
    return window?.bytes.subarray(offset - window.offset, offset - window.offset + bytes);
  };
  const rules: SignatureRule[] = [
    luks,
    lvm,
    (read) => raid(read, [0, 4 * KiB, raidAtEnd(length), oldRaidAtEnd(length)]),
    zfs,
    bcache,
    vmfs,
    simple(32, 'ORCLDISK', 'Oracle ASM member'),
    simple(0, 'bluestore block device', 'Ceph BlueStore'),
    ...bootSectorRules,
    xfs,
    ext,
    btrfs,
    f2fs,
    apfs,
    hfs,
    ufs,
    iso,
    swap,
  ];
  return rules.flatMap((rule) => rule(at) ?? []);
}

function raidAtEnd(length: number): number {
  return alignDown(length - 8 * KiB, 4 * KiB);
}

function oldRaidAtEnd(length: number): number {
  return alignDown(length, 64 * KiB) - 64 * KiB;
}

/** Text up to its first zero byte; undefined when there is none. */
function labelOf(bytes: Buffer, encoding: 'utf8' | 'latin1' | 'utf16le' = 'utf8'): string | undefined {
  const text = bytes.toString(encoding).replace(/\0.*$/s, '').trimEnd();
  return text === '' ? undefined : text;
}

function simple(offset: number, magic: string, kind: string): SignatureRule {
  return (at) =>
    at(offset, magic.length)?.toString('latin1') === magic ? { kind, role: 'member' } : undefined;
}

function luks(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const header = at(0, 512);
  if (header?.toString('latin1', 0, 6) !== 'LUKS\xba\xbe') return undefined;
  const label = header.readUInt16BE(6) === 2 ? labelOf(header.subarray(24, 72)) : undefined;
  return { kind: 'LUKS', role: 'member', label, uuid: labelOf(header.subarray(168, 208), 'latin1') };
}

function lvm(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  for (let sector = 0; sector < 4; sector += 1) {
    const label = at(sector * 512, 512);
    if (label?.toString('latin1', 0, 8) !== 'LABELONE' || label.toString('latin1', 24, 32) !== 'LVM2 001')
      continue;
    const id = label.toString('latin1', 32, 64);
    const uuid = /^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/.exec(id)?.slice(1).join('-');
    return { kind: 'LVM2 member', role: 'member', ...(uuid !== undefined && { uuid }) };
  }
  return undefined;
}

function raid(at: Parameters<SignatureRule>[0], places: readonly number[]): FileSystemInfo | undefined {
  for (const place of places) {
    const superblock = at(place, 64);
    if (superblock?.readUInt32LE(0) !== 0xa92b4efc) continue;
    if (superblock.readUInt32LE(4) !== 1) return { kind: 'Linux RAID member', role: 'member' };
    const label = labelOf(superblock.subarray(32, 64));
    return { kind: 'Linux RAID member', role: 'member', label, uuid: parseUuid(superblock, 16) };
  }
  return undefined;
}

function zfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  for (let slot = 0; slot < 128; slot += 1) {
    const magic = at(128 * KiB + slot * KiB, 8)?.toString('hex');
    if (magic === '0cb1ba0000000000' || magic === '0000000000bab10c')
      return { kind: 'ZFS member', role: 'member' };
  }
  return undefined;
}

function bcache(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const magic = at(4 * KiB + 24, 16)?.toString('hex');
  return magic === 'c68573f64e1a45ca8265f57f48ba6d81' ? { kind: 'bcache', role: 'member' } : undefined;
}

function vmfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  return at(MiB, 4)?.readUInt32LE(0) === 0xc001d00d ? { kind: 'VMFS member', role: 'member' } : undefined;
}

function xfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const superblock = at(0, 512);
  if (superblock?.toString('latin1', 0, 4) !== 'XFSB') return undefined;
  return {
    kind: 'xfs',
    role: 'file-system',
    label: labelOf(superblock.subarray(108, 120)),
    uuid: parseUuid(superblock, 32),
    blockSize: superblock.readUInt32BE(4),
  };
}

function ext(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const superblock = at(1024, 1024);
  if (superblock?.readUInt16LE(56) !== 0xef53) return undefined;
  const [compat, incompat, readOnly] = [92, 96, 100].map((offset) => superblock.readUInt32LE(offset));
  const blockShift = superblock.readUInt32LE(24);
  const named = { label: labelOf(superblock.subarray(120, 136)), uuid: parseUuid(superblock, 104) };
  if (((incompat ?? 0) & 0x8) !== 0) return { kind: 'ext journal', role: 'member', ...named };
  // what ext3 does not know: extents, 64bit, flex_bg and the like, huge_file, checksums …
  const isNew = ((incompat ?? 0) & ~0x16) !== 0 || ((readOnly ?? 0) & ~0x7) !== 0;
  const kind = isNew ? 'ext4' : ((compat ?? 0) & 0x4) !== 0 ? 'ext3' : 'ext2';
  return { kind, role: 'file-system', ...named, ...(blockShift <= 6 && { blockSize: 1024 << blockShift }) };
}

function btrfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const superblock = at(64 * KiB, 1024);
  if (superblock?.toString('latin1', 64, 72) !== '_BHRfS_M') return undefined;
  return {
    kind: 'btrfs',
    role: 'file-system',
    label: labelOf(superblock.subarray(0x12b, 0x12b + 256)),
    uuid: parseUuid(superblock, 32),
    blockSize: superblock.readUInt32LE(0x90),
  };
}

function f2fs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const superblock = at(1024, 1024);
  if (superblock?.readUInt32LE(0) !== 0xf2f52010) return undefined;
  const label = labelOf(superblock.subarray(124, 124 + 512), 'utf16le');
  return { kind: 'f2fs', role: 'file-system', label, uuid: parseUuid(superblock, 108) };
}

function apfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const superblock = at(0, 128);
  if (superblock?.toString('latin1', 32, 36) !== 'NXSB') return undefined;
  const blockSize = superblock.readUInt32LE(36);
  return { kind: 'apfs', role: 'file-system', uuid: parseUuid(superblock, 72), blockSize };
}

function hfs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const header = at(1024, 64);
  const magic = header?.toString('latin1', 0, 4);
  if (header === undefined || (magic !== 'H+\0\x04' && magic !== 'HX\0\x05')) return undefined;
  return { kind: 'hfsplus', role: 'file-system', blockSize: header.readUInt32BE(40) };
}

function ufs(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const isFirst = at(8 * KiB + 1372, 4)?.readUInt32LE(0) === 0x00011954;
  const isSecond = at(64 * KiB + 1372, 4)?.readUInt32LE(0) === 0x19540119;
  return isFirst || isSecond ? { kind: 'ufs', role: 'file-system' } : undefined;
}

function iso(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  const descriptor = at(32 * KiB, 2048);
  if (descriptor?.toString('latin1', 1, 6) !== 'CD001') return undefined;
  return {
    kind: 'iso9660',
    role: 'file-system',
    label: labelOf(descriptor.subarray(40, 72)),
    blockSize: 2048,
  };
}

/** What a hibernated Linux writes where its swap area is marked. */
const suspended = /^(?:S1SUSPEND|S2SUSPEND|ULSUSPEND|LINHIB0001)/;

function swap(at: Parameters<SignatureRule>[0]): FileSystemInfo | undefined {
  for (const page of [4, 8, 16, 32, 64]) {
    const mark = at(page * KiB - 10, 10)?.toString('latin1') ?? '';
    const header = at(1024, 44);
    if (suspended.test(mark)) return { kind: 'swap with a hibernated system', role: 'swap' };
    if (mark !== 'SWAPSPACE2' && mark !== 'SWAP-SPACE') continue;
    const blockSize = page * KiB;
    if (header === undefined || mark === 'SWAP-SPACE') return { kind: 'swap', role: 'swap', blockSize };
    const named = { label: labelOf(header.subarray(28, 44)), uuid: parseUuid(header, 12) };
    return { kind: 'swap', role: 'swap', ...named, blockSize };
  }
  return undefined;
}
