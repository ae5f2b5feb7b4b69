/** A repository in memory for tests: points and whole disks, no deduplication, faults on request. */
import { randomBytes } from 'node:crypto';
import { mergeRanges, PrimaError, type Range, UserError } from '@prima/base';
import {
  type BlockDevice,
  copyDevice,
  memoryDevice,
  readOnlyDevice,
  type WritableDevice,
} from '@prima/block';
import type {
  Point,
  PointDisk,
  PointFile,
  Repository,
  WriteDiskRequest,
  WriteDiskResult,
  WriteSession,
} from '@prima/repository';

export interface FakeRepository extends Repository {
  /** What happened, in order. */
  readonly log: string[];
  /** Raised by the step of this name. */
  faults: Map<'commit' | 'writeDisk', Error>;
  /** What the next disk's sample of unchanged chunks finds. */
  trackingFault?: { offset: number };
  readonly disks: Map<string, WritableDevice>;
  readonly requests: WriteDiskRequest[];
  /** Of the sessions that had one. */
  readonly storeRates: number[];
}

export function fakeRepository(): FakeRepository {
  const points: Point[] = [];
  const files = new Map<string, Uint8Array>();
  const log: string[] = [];
  const notThere = async (): Promise<never> => {
    throw new UserError('unsupported', 'the fake has none');
  };
  const repository: FakeRepository = {
    id: 'fake-repository',
    url: 'memory:',
    chunkSize: 4096,
    log,
    faults: new Map(),
    disks: new Map(),
    requests: [],
    storeRates: [],
    beginBackup: async ({ storeRate } = {}) => {
      if (storeRate !== undefined) repository.storeRates.push(storeRate);
      return session(repository, { points, files });
    },
    points: async () => [...points],
    openDisk: async (point, name) => {
      const disk = [...point.disks, ...(point.memory ? [point.memory] : [])].find((d) => d.name === name);
      const device = repository.disks.get(disk?.root.id ?? '');
      if (!device) throw new UserError('not-found', `no disk ${name}`);
      return { ...readOnlyDevice(device), point, close: async () => void log.push(`close ${name}`) };
    },
    readFile: async (point, name) => {
      const bytes = files.get(point.files.find((file) => file.name === name)?.ids[0] ?? '');
      if (!bytes) throw new UserError('not-found', `no file ${name}`);
      return bytes;
    },
    verification: notThere,
    difference: (a, b) => difference(repository, a, b),
    forget: async (point) => {
      points.splice(points.indexOf(point), 1);
    },
    lock: async (point, until) => {
      const locked = { ...point, lockedUntil: new Date(until).toISOString() };
      points.splice(points.indexOf(point), 1, locked);
      return locked;
    },
    check: notThere,
    repair: notThere,
    collect: notThere,
    status: notThere,
    keySlots: notThere,
    addKeySlot: notThere,
    removeKeySlot: notThere,
    rotateKeys: notThere,
    rotateRootKey: notThere,
    close: async () => undefined,
  };
  return repository;
}

function session(
  repository: FakeRepository,
  state: { points: Point[]; files: Map<string, Uint8Array> },
): WriteSession {
  const { log, faults, disks } = repository;
  const raise = (step: 'commit' | 'writeDisk') => {
    const error = faults.get(step);
    if (error) throw error;
  };
  log.push('begin');
  return {
    id: 'session',
    writeDisk: async (request): Promise<WriteDiskResult> => {
      log.push(`write ${request.name}`);
      repository.requests.push(request);
      raise('writeDisk');
      const target = memoryDevice(request.device.size);
      if (request.changed) await copyDevice(parentOf(repository, request), target);
      const { trackingFault } = repository;
      const ranges = trackingFault ? undefined : request.changed;
      for (const range of ranges ?? [{ offset: 0, length: request.device.size }]) {
        await copyDevice(request.device, target, { range, signal: request.signal });
      }
      const id = randomBytes(32).toString('hex');
      disks.set(id, target);
      const read = (ranges ?? [{ length: target.size }]).reduce((sum, { length }) => sum + length, 0);
      const figures = { read, data: read, added: read, stored: read, sampled: 0 };
      return { root: { id, zero: false }, figures, trackingFault };
    },
    writeFile: async (name, bytes): Promise<PointFile> => {
      const id = randomBytes(32).toString('hex');
      state.files.set(id, bytes);
      return { name, length: bytes.length, ids: [id] };
    },
    commit: async (draft) => {
      raise('commit');
      log.push('commit');
      const point = { ...draft, id: randomBytes(16).toString('hex') };
      state.points.push(point);
      return point;
    },
    abort: async (why) => void log.push(`abort: ${why}`),
  };
}

function parentOf(repository: FakeRepository, { parent, device }: WriteDiskRequest): BlockDevice {
  const found = repository.disks.get(parent?.root.id ?? '');
  if (found?.size !== device.size) throw new PrimaError('internal', 'changes without a parent of that size');
  return found;
}

async function difference(repository: FakeRepository, a: PointDisk, b: PointDisk): Promise<Range[]> {
  const [left, right] = [repository.disks.get(a.root.id), repository.disks.get(b.root.id)];
  if (!left || !right) throw new PrimaError('internal', 'unknown root');
  const ranges: Range[] = [];
  for (let offset = 0; offset < a.size; offset += 4096) {
    const [x, y] = [Buffer.alloc(4096), Buffer.alloc(4096)];
    await left.read(offset, x);
    await right.read(offset, y);
    if (!x.equals(y)) ranges.push({ offset, length: 4096 });
  }
  return mergeRanges(ranges);
}
