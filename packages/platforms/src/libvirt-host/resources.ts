/** Processors, memory and disk limits of a libvirt machine: through libvirt's own calls, live and in the configuration. */
import { PrimaError, toPrimaError } from '@prima/base';
import { unitBytes } from '@prima/formats';
import {
  AffectFlags,
  type Domain as DomainRef,
  type LibvirtConnection,
  LibvirtError,
  MemoryFlags,
  type TypedParam,
  VcpuFlags,
  VIR_TYPED_PARAM_STRING_OKAY,
  XmlFlags,
} from '@prima/libvirt';
import { elementAt, parseXml, textAt, valueOf, type XmlElement } from '@prima/xml';
import {
  type DiskResourceName,
  diskResourceNames,
  type MachineResources,
  type ResourceDone,
  type ResourceName,
  type ResourceSettings,
} from '../resources.ts';
import { parseDomain } from './domain.ts';

export interface ResourceRequest {
  connection: LibvirtConnection;
  dom: DomainRef;
  isUp: boolean;
}

const KiB = 1024;
/** VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, KiB: libvirt's word for no limit. */
const unlimitedKib = 9_007_199_254_740_991n;

type Where = 'live' | 'config';

const affect = {
  live: AffectFlags.VIR_DOMAIN_AFFECT_LIVE,
  config: AffectFlags.VIR_DOMAIN_AFFECT_CONFIG,
} as const;

interface ParamName {
  field: string;
  type: 'ullong' | 'llong' | 'uint';
  /** libvirt's unit. */
  unit?: number;
}

const groups = {
  scheduler: {
    'cpu-shares': { field: 'cpu_shares', type: 'ullong' },
    'cpu-period': { field: 'vcpu_period', type: 'ullong' },
    'cpu-quota': { field: 'vcpu_quota', type: 'llong' },
  },
  memory: {
    'memory-hard-limit': { field: 'hard_limit', type: 'ullong', unit: KiB },
    'memory-soft-limit': { field: 'soft_limit', type: 'ullong', unit: KiB },
  },
  blkio: { 'blkio-weight': { field: 'weight', type: 'uint' } },
} as const satisfies Record<string, Partial<Record<ResourceName, ParamName>>>;

type Group = keyof typeof groups;
const groupNames = Object.keys(groups) as Group[];

/** `read-bytes` → `read_bytes_sec`, `read-iops-burst` → `read_iops_sec_max`. */
export function tuneField(name: DiskResourceName): string {
  const isBurst = name.endsWith('-burst');
  return `${name.replace(/-burst$/, '').replace('-', '_')}_sec${isBurst ? '_max' : ''}`;
}

export async function readResources(request: ResourceRequest): Promise<MachineResources> {
  const notes: string[] = [];
  const { persistent } = await request.connection.call('domainIsPersistent', { dom: request.dom });
  const live = request.isUp ? await readSettings(request, 'live', notes) : undefined;
  const config = persistent ? await readSettings(request, 'config', notes) : { machine: {}, disks: [] };
  if (!persistent) notes.push('it is transient: it has no configuration');
  return { config, notes, ...(live ? { live } : {}) };
}

async function readSettings(
  { connection, dom }: ResourceRequest,
  where: Where,
  notes: string[],
): Promise<ResourceSettings> {
  const flags = where === 'config' ? XmlFlags.VIR_DOMAIN_XML_INACTIVE : 0;
  const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
  const settings: ResourceSettings = { machine: amountsOf(xml, dom.name), disks: [] };
  for (const group of groupNames) {
    try {
      const params = await readGroup({ connection, dom, isUp: true }, group, where);
      Object.assign(settings.machine, valuesOf(groups[group], params));
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      notes.push(`${Object.keys(groups[group]).join(', ')} as they are now: ${error.text}`);
    }
  }
  for (const { target, excluded } of parseDomain(xml, dom.name).disks) {
    if (excluded !== undefined) continue;
    const limits = await readLimits({ connection, dom }, target, where);
    settings.disks.push({ disk: target, limits });
  }
  return settings;
}

function amountsOf(xml: string, name: string): ResourceSettings['machine'] {
  const { root } = parseXml(xml, `the machine ${name}`);
  const most = Number(textAt(root, 'vcpu') ?? 1);
  const vcpus = Number(valueOf(elementAt(root, 'vcpu'), 'current') ?? most);
  const memoryMax = bytesOf(elementAt(root, 'memory'));
  const memory = bytesOf(elementAt(root, 'currentMemory') ?? elementAt(root, 'memory'));
  return { vcpus, 'vcpus-max': most, memory, 'memory-max': memoryMax };
}

function bytesOf(element: XmlElement | undefined): number {
  return (Number(textAt(element)) || 0) * (unitBytes(valueOf(element, 'unit') ?? 'KiB') ?? KiB);
}

async function readGroup(
  { connection, dom }: ResourceRequest,
  group: Group,
  where: Where,
): Promise<readonly TypedParam[]> {
  const get = { dom, flags: affect[where] | VIR_TYPED_PARAM_STRING_OKAY };
  if (group === 'scheduler') return (await connection.call('domainGetSchedulerParametersFlags', get)).params;
  if (group === 'memory') return (await connection.call('domainGetMemoryParameters', get)).params;
  return (await connection.call('domainGetBlkioParameters', get)).params;
}

/** Without what stands for "none". */
function valuesOf(
  names: Partial<Record<ResourceName, ParamName>>,
  params: readonly TypedParam[],
): ResourceSettings['machine'] {
  const values: ResourceSettings['machine'] = {};
  for (const [name, { field, unit = 1 }] of Object.entries(names)) {
    const value = params.find((param) => param.field === field)?.value;
    if (value === undefined || value === unlimitedKib || Number(value) === 0) continue;
    values[name as ResourceName] = Number(value) * unit;
  }
  return values;
}

type DiskLimits = ResourceSettings['disks'][number]['limits'];

async function readLimits(
  { connection, dom }: Pick<ResourceRequest, 'connection' | 'dom'>,
  disk: string,
  where: Where,
): Promise<DiskLimits> {
  const get = { dom, disk, flags: affect[where] | VIR_TYPED_PARAM_STRING_OKAY };
  const { params } = await connection.call('domainGetBlockIoTune', get);
  const limits: DiskLimits = {};
  for (const name of diskResourceNames) {
    const value = Number(params.find(({ field }) => field === tuneField(name))?.value ?? 0);
    if (value > 0) limits[name] = value;
  }
  return limits;
}

/**
 * libvirt takes the limits of a kind (bytes, requests) as one, and those that are not given for none. A limit on the total and one
 * on reads or writes exclude each other: the new one stays.
 */
export function mergedLimits(before: DiskLimits, wanted: DiskLimits): DiskLimits {
  const merged = { ...before };
  for (const name of Object.keys(wanted) as DiskResourceName[]) {
    const [, way = '', kind = ''] = /^(total|read|write)-(.*)$/.exec(name) ?? [];
    const others = way === 'total' ? ['read', 'write'] : ['total'];
    if ((wanted[name] ?? 0) > 0)
      for (const other of others) merged[`${other}-${kind}` as DiskResourceName] = 0;
  }
  return { ...merged, ...wanted };
}

function tuneParams(limits: DiskLimits): TypedParam[] {
  return Object.entries(limits).map(([name, value]) => ({
    field: tuneField(name as DiskResourceName),
    type: 'ullong',
    value: BigInt(value),
  }));
}

/** See `ResourcePlatform.set`. */
export async function setResources(
  request: ResourceRequest,
  settings: ResourceSettings,
): Promise<ResourceDone[]> {
  const { connection, dom } = request;
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  const targets = parseDomain(xml, dom.name).disks.map(({ target }) => target);
  const missing = settings.disks.find(({ disk }) => !targets.includes(disk));
  if (missing) {
    throw new PrimaError(
      'not-found',
      `${dom.name} has no disk ${missing.disk}; it has ${targets.join(', ') || 'none'}`,
    );
  }
  const done: ResourceDone[] = [];
  await setAmounts(request, settings.machine, done);
  for (const group of groupNames) await setGroup(request, { group, wanted: settings.machine, done });
  for (const { disk, limits } of settings.disks) {
    const names = Object.keys(limits).map((name) => `${disk} ${name}`);
    if (names.length === 0) continue;
    done.push(
      await both(request, names, async (where) => {
        const params = tuneParams(mergedLimits(await readLimits(request, disk, where), limits));
        await connection.call('domainSetBlockIoTune', { dom, disk, params, flags: affect[where] });
      }),
    );
  }
  return done;
}

/** What a machine may have at most changes in its configuration only. */
async function setAmounts(
  request: ResourceRequest,
  wanted: ResourceSettings['machine'],
  done: ResourceDone[],
): Promise<void> {
  const { connection, dom } = request;
  const setMemory = async (bytes: number, flags: number) => {
    await connection.call('domainSetMemoryFlags', { dom, memoryKib: Math.floor(bytes / KiB), flags });
  };
  const setVcpus = async (vcpus: number, flags: number) => {
    await connection.call('domainSetVcpusFlags', { dom, vcpus, flags });
  };
  const inConfig = async (name: ResourceName, task: () => Promise<void>) => {
    await task();
    const later = 'it holds from the next start on: a machine that runs keeps its maximum';
    done.push({ settings: [name], config: true, live: false, ...(request.isUp ? { why: later } : {}) });
  };
  const { memory, 'memory-max': memoryMax, vcpus, 'vcpus-max': vcpusMax } = wanted;
  const memoryMaxFlags = MemoryFlags.VIR_DOMAIN_MEM_CONFIG | MemoryFlags.VIR_DOMAIN_MEM_MAXIMUM;
  const vcpuMaxFlags = VcpuFlags.VIR_DOMAIN_VCPU_CONFIG | VcpuFlags.VIR_DOMAIN_VCPU_MAXIMUM;
  if (memoryMax !== undefined) await inConfig('memory-max', () => setMemory(memoryMax, memoryMaxFlags));
  if (memory !== undefined) {
    done.push(await both(request, ['memory'], (where) => setMemory(memory, affect[where])));
  }
  if (vcpusMax !== undefined) await inConfig('vcpus-max', () => setVcpus(vcpusMax, vcpuMaxFlags));
  if (vcpus !== undefined) {
    done.push(await both(request, ['vcpus'], (where) => setVcpus(vcpus, affect[where])));
  }
}

async function setGroup(
  request: ResourceRequest,
  { group, wanted, done }: { group: Group; wanted: ResourceSettings['machine']; done: ResourceDone[] },
): Promise<void> {
  const { connection, dom } = request;
  const names = Object.entries<ParamName>(groups[group]);
  const given = names.filter(([name]) => wanted[name as ResourceName] !== undefined);
  if (given.length === 0) return;
  const params = given.map(([name, { field, type, unit = 1 }]): TypedParam => {
    const value = Math.floor((wanted[name as ResourceName] ?? 0) / unit);
    return type === 'uint' ? { field, type, value } : { field, type, value: BigInt(value) };
  });
  const set = async (where: Where) => {
    const args = { dom, params, flags: affect[where] };
    if (group === 'scheduler') await connection.call('domainSetSchedulerParametersFlags', args);
    else if (group === 'memory') await connection.call('domainSetMemoryParameters', args);
    else await connection.call('domainSetBlkioParameters', args);
  };
  done.push(
    await both(
      request,
      given.map(([name]) => name),
      set,
    ),
  );
}

/** First in the configuration, whose refusal is the caller's mistake; then at once, which the host may not be able to. */
async function both(
  { connection, dom, isUp }: ResourceRequest,
  settings: string[],
  set: (where: Where) => Promise<void>,
): Promise<ResourceDone> {
  const { persistent: config } = await connection.call('domainIsPersistent', { dom });
  if (config) await set('config');
  if (!isUp) return { settings, config, live: false };
  try {
    await set('live');
    return { settings, config, live: true };
  } catch (error) {
    if (!(error instanceof LibvirtError) || !config)
      throw toPrimaError(error, `setting ${settings.join(', ')}`);
    return { settings, config, live: false, why: `it holds from the next start on: ${error.text}` };
  }
}
