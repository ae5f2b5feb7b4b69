/** File systems that begin with a boot sector and its parameter block: NTFS, exFAT, FAT, ReFS, and BitLocker over them. */
import type { FileSystemInfo, SignatureRule } from './signatures.ts';

type At = Parameters<SignatureRule>[0];

/** One rule a kind; at most one of them finds something. */
export const bootSectorRules: readonly SignatureRule[] = [bitLocker, ntfs, exfat, refs, fat];

function systemName(at: At): { sector: Buffer; name: string } | undefined {
  const sector = at(0, 512);
  return sector && { sector, name: sector.toString('latin1', 3, 11) };
}

function bitLocker(at: At): FileSystemInfo | undefined {
  return systemName(at)?.name === '-FVE-FS-' ? { kind: 'BitLocker', role: 'member' } : undefined;
}

function refs(at: At): FileSystemInfo | undefined {
  return systemName(at)?.name === 'ReFS\0\0\0\0' ? { kind: 'refs', role: 'file-system' } : undefined;
}

function ntfs(at: At): FileSystemInfo | undefined {
  const found = systemName(at);
  if (found?.name !== 'NTFS    ') return undefined;
  const { sector } = found;
  const perCluster = sector.readUInt8(13);
  const sectors = perCluster > 0x80 ? 2 ** (256 - perCluster) : perCluster;
  return {
    kind: 'ntfs',
    role: 'file-system',
    uuid: sector.readBigUInt64LE(72).toString(16).padStart(16, '0'),
    blockSize: sector.readUInt16LE(11) * sectors,
  };
}

function exfat(at: At): FileSystemInfo | undefined {
  const found = systemName(at);
  if (found?.name !== 'EXFAT   ') return undefined;
  const shift = found.sector.readUInt8(108) + found.sector.readUInt8(109);
  const uuid = serial(found.sector, 100);
  return {
    kind: 'exfat',
    role: 'file-system',
    uuid,
    ...(shift >= 9 && shift <= 25 && { blockSize: 2 ** shift }),
  };
}

function fat(at: At): FileSystemInfo | undefined {
  const sector = at(0, 512);
  if (sector?.readUInt16BE(510) !== 0x55aa) return undefined;
  const blockSize = sector.readUInt16LE(11) * sector.readUInt8(13);
  const base = { kind: 'vfat', role: 'file-system', blockSize } as const;
  if (sector.toString('latin1', 82, 90) === 'FAT32   ') {
    return { ...base, uuid: serial(sector, 67), label: fatLabel(sector, 71) };
  }
  if (!/^FAT1[26] {3}$/.test(sector.toString('latin1', 54, 62))) return undefined;
  return { ...base, uuid: serial(sector, 39), label: fatLabel(sector, 43) };
}

function fatLabel(sector: Buffer, offset: number): string | undefined {
  const label = sector
    .toString('latin1', offset, offset + 11)
    .replace(/\0.*$/s, '')
    .trimEnd();
  return label === '' || label === 'NO NAME' ? undefined : label;
}

/** `1a2b-3c4d`, as the systems show it. */
function serial(sector: Buffer, offset: number): string {
  const hex = sector.readUInt32LE(offset).toString(16).padStart(8, '0');
  return `${hex.slice(0, 4)}-${hex.slice(4)}`;
}
