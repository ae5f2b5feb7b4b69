/** The kinds of VMDK that a person can ask for, and what is made then. */
import { UserError } from '@prima/base';
import type { CreateType, CreateVmdkOptions, VmdkInfo } from '@prima/formats';

type Made = Pick<CreateVmdkOptions, 'createType' | 'allocation'>;

/** ESX writes `vmfs` for all of its flat disks, and tells only thin ones apart. */
const kinds = {
  monolithicSparse: { createType: 'monolithicSparse' },
  monolithicFlat: { createType: 'monolithicFlat' },
  twoGbMaxExtentSparse: { createType: 'twoGbMaxExtentSparse' },
  twoGbMaxExtentFlat: { createType: 'twoGbMaxExtentFlat' },
  vmfs: { createType: 'vmfs', allocation: 'zeroedthick' },
  vmfsThin: { createType: 'vmfs', allocation: 'thin' },
  vmfsThick: { createType: 'vmfs', allocation: 'zeroedthick' },
  vmfsPreallocated: { createType: 'vmfs', allocation: 'zeroedthick' },
  vmfsEagerZeroedThick: { createType: 'vmfs', allocation: 'eagerzeroedthick' },
  vmfsSparse: { createType: 'vmfsSparse' },
} as const satisfies Partial<Record<CreateType, Made>>;

export type VmdkKind = keyof typeof kinds | 'streamOptimized';
const vmdkKinds: readonly VmdkKind[] = [...(Object.keys(kinds) as (keyof typeof kinds)[]), 'streamOptimized'];

const notMade: Partial<Record<string, string>> = {
  seSparse: 'only ESX makes these, as snapshots; vmfsSparse is its other kind of child',
  fullDevice: 'it stands for a whole device: prima disk rdm create maps one',
  partitionedDevice: 'it stands for the partitions of a device: prima disk rdm create maps a whole one',
  custom: 'that is any mixture of extents; name the kind that you want',
  vmfsRaw: 'it stands for a device: prima disk rdm create maps one',
  vmfsRawDeviceMap: 'prima disk rdm create makes one',
  vmfsPassthroughRawDeviceMap: 'prima disk rdm create --mode physical makes one',
};

/** A kind by its name in any case. Raises `usage` with what can be made instead. */
export function vmdkKind(text: string): VmdkKind {
  const is = (name: string) => name.toLowerCase() === text.toLowerCase();
  const kind = vmdkKinds.find(is);
  if (kind) return kind;
  const [, why] = Object.entries(notMade).find(([name]) => is(name)) ?? [];
  throw new UserError(
    'usage',
    why === undefined
      ? `"${text}" is no kind of VMDK; write one of ${vmdkKinds.join(', ')}`
      : `a VMDK of the kind ${text} cannot be made: ${why}`,
  );
}

/** What an empty or writable disk of the kind is made of. Raises `unsupported` for what is written once. */
export function madeOf(kind: VmdkKind): Made {
  if (kind !== 'streamOptimized') return kinds[kind];
  throw new UserError(
    'unsupported',
    'a streamOptimized VMDK is written once, from front to end, so there is no empty one to be filled later; ' +
      'prima disk convert makes one of a disk that is there',
  );
}

/** The kind of a copy that is as much like the disk as can be, without its parents. */
export function kindLike({ createType, ddb }: VmdkInfo): VmdkKind {
  switch (createType) {
    case 'monolithicSparse':
    case 'monolithicFlat':
    case 'twoGbMaxExtentSparse':
    case 'twoGbMaxExtentFlat':
      return createType;
    case 'vmfsPreallocated':
    case 'vmfsEagerZeroedThick':
    case 'vmfsThick':
      return createType;
    case 'vmfs':
      return ddb.get('thinprovisioned') === '1' ? 'vmfsThin' : 'vmfs';
    case 'streamOptimized':
    case 'fullDevice':
    case 'partitionedDevice':
    case 'custom':
      return 'monolithicSparse';
    default:
      return 'vmfsThin';
  }
}
