/** What the descriptors of a VMDK say, as plain values for people and scripts. */
import {
  formatCid,
  sectorBytes,
  type VmdkExtentInfo,
  type VmdkInfo,
  type VmdkLinkInfo,
} from '@prima/formats';

/** A VMDK, or one of its parents; sizes and offsets in bytes. */
interface VmdkLinkDescription {
  path: string;
  createType?: string;
  cid?: string;
  generation?: number;
  size: number;
  extents: ReturnType<typeof describeExtent>[];
}

export interface VmdkDescription extends VmdkLinkDescription {
  adapterType?: string;
  geometry: VmdkInfo['geometry'];
  ddb: Record<string, string>;
  parents: VmdkLinkDescription[];
  notes: string[];
}

export function describeVmdk(info: VmdkInfo): VmdkDescription {
  const { adapterType, geometry, ddb, parents, notes } = info;
  return {
    ...describeLink(info),
    ...(adapterType !== undefined && { adapterType }),
    geometry,
    ddb: Object.fromEntries(ddb),
    parents: parents.map(describeLink),
    notes: [...notes],
  };
}

function describeLink(link: VmdkLinkInfo): VmdkLinkDescription {
  const { path, createType, cid, generation, capacity, extents } = link;
  return {
    path,
    ...(createType !== undefined && { createType }),
    ...(cid !== undefined && { cid: formatCid(cid) }),
    ...(generation !== undefined && { generation }),
    size: capacity,
    extents: extents.map(describeExtent),
  };
}

function describeExtent({ access, type, sectors, file, path, offset, fileBytes }: VmdkExtentInfo) {
  return {
    access,
    type,
    size: sectors * sectorBytes,
    ...(file !== undefined && { name: file }),
    ...(path !== undefined && { path }),
    offset: offset * sectorBytes,
    ...(fileBytes !== undefined && { fileSize: fileBytes }),
  };
}
