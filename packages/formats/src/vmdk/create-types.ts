/**
 * `createType` of a VMDK descriptor: every name that VMware has used, and what it stands for. ESX writes plain
 * `vmfs` for thin and thick disks alike; only thin ones are told apart, by `ddb.thinProvisioned = "1"`.
 * Names: VMware Virtual Disk Format 5.0 ("createType"), libvmdk's documentation, open-vmdk.
 */

/** The canonical spelling; what is read in any other is written as it was. */
export const createTypes = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
  'fullDevice',
  'partitionedDevice',
  'custom',
  'streamOptimized',
  'vmfs',
  'vmfsPreallocated',
  'vmfsEagerZeroedThick',
  'vmfsThin',
  'vmfsThick',
  'vmfsSparse',
  'seSparse',
  'vmfsRawDeviceMap',
  'vmfsPassthroughRawDeviceMap',
  'vmfsRaw',
] as const;

export type CreateType = (typeof createTypes)[number];

/** Second names, lower case. */
const otherNames: Partial<Record<string, CreateType>> = {
  '2gbmaxextentsparse': 'twoGbMaxExtentSparse',
  '2gbmaxextentflat': 'twoGbMaxExtentFlat',
  vmfssesparse: 'seSparse',
  vmfsrdm: 'vmfsRawDeviceMap',
  vmfsrdmp: 'vmfsPassthroughRawDeviceMap',
};

const byName = new Map<string, CreateType>(createTypes.map((name) => [name.toLowerCase(), name]));

/** The canonical name of a `createType` in any spelling and case; undefined for one that is not known. */
export function canonicalCreateType(text: string): CreateType | undefined {
  const name = text.trim().toLowerCase();
  return byName.get(name) ?? otherNames[name];
}
