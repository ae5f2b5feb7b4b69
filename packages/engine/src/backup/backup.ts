/**
 * One backup of one machine into one repository.
 *
 * The order is what makes it safe. The session is begun before the machine is touched, so that a
 * repository that cannot be used leaves the machine alone. The machine's side is kept until the point
 * is committed: only then may tracking move on, and if anything fails before, the next backup starts
 * from the earlier point again. On failure the machine comes first, the repository's session second:
 * what a dead session leaves is harmless, a snapshot that stays is not.
 */
import {
  type Clock,
  type Logger,
  type ProgressListener,
  silentLogger,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type BlockDevice, throttledDevice } from '@prima/block';
import type { Checkpoint, DiskReading, OpenForBackupOptions } from '@prima/platforms';
import { newest, type Point, type PointDisk, type Repository, type WriteSession } from '@prima/repository';
import { type Base, freeSpaceNotes, leaveOutFreeSpace } from './free-space.ts';
import { mendingNotes } from './mending-notes.ts';
import type { BackupSource, SourceReading } from './source.ts';
import { sourceDevice } from './source-device.ts';

export interface BackupOptions {
  /** Default `auto`. */
  mode?: OpenForBackupOptions['mode'];
  /** Read everything although changes are tracked. */
  full?: boolean;
  /** Leave out what the guest's file systems provably do not use. Default false. */
  skipFreeSpace?: boolean;
  name?: string;
  tags?: readonly string[];
  /** Default: as the repository says. */
  readBack?: boolean;
  /** Nobody can forget the point for so long, milliseconds. Default: as the repository says. */
  lockMs?: number;
  /** Notes that go on the point: how the source was understood. */
  notes?: readonly string[];
  scratch?: OpenForBackupOptions['scratch'];
  /** Bytes a second at most: read of the source, and stored in the repository. */
  limits?: { read?: number; store?: number };
  signal?: AbortSignal;
  logger?: Logger;
  clock?: Clock;
  /** @param subject what is being read: "web01 disk0" */
  onProgress?: (subject: string, progress: Parameters<ProgressListener>[0]) => void;
}

export interface BackupOutcome {
  point: Point;
  /** What went wrong after the point was committed: the point is good, the machine may need a look. */
  afterwards: string[];
}

interface Work {
  repository: Repository;
  source: BackupSource;
  options: BackupOptions;
  logger: Logger;
  /** The newest point of this machine: what tracked changes are relative to. */
  parent: Point | undefined;
}

/**
 * Backs `source` up. Raises what the source and the repository raise: `busy`, `unsupported`, `source-changed`,
 * `refused`, `no-space`, `cancelled` …; then nothing is committed and the source is as before.
 */
export async function backup(
  repository: Repository,
  source: BackupSource,
  options: BackupOptions = {},
): Promise<BackupOutcome> {
  const { logger = silentLogger, clock = systemClock, signal } = options;
  const doing = `backing up ${source.machine.name}`;
  throwIfAborted(signal, doing);
  const started = new Date(clock.now()).toISOString();
  const own = (await repository.points()).filter((point) => point.machine.id === source.machine.id);
  const work: Work = { repository, source, options, logger, parent: newest(own) };
  const session = await repository.beginBackup({
    readBack: options.readBack,
    machine: source.machine.id,
    storeRate: options.limits?.store,
    signal,
  });
  let reading: SourceReading | undefined;
  let point: Point;
  try {
    reading = await source.open(openOptions(work));
    const draft = await writeAll(work, session, reading);
    throwIfAborted(signal, doing);
    await reading.committing?.();
    const finished = new Date(clock.now()).toISOString();
    point = await session.commit({ ...draft, started, finished, ...lockFrom(clock.now(), options.lockMs) });
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await cleanUp([() => reading?.close(), () => session.abort(failure.message)], doing, logger);
    throw failure;
  }
  return { point, afterwards: await settle(reading, logger) };
}

/** A lock of `lockMs` that begins now, as a point has it. */
export function lockFrom(now: number, lockMs: number | undefined): Pick<Point, 'lockedUntil'> {
  return lockMs === undefined ? {} : { lockedUntil: new Date(now + lockMs).toISOString() };
}

function openOptions({ repository, options, parent, logger }: Work): OpenForBackupOptions {
  return {
    mode: options.mode ?? 'auto',
    owner: repository.id,
    logger,
    since: parent?.checkpoint as Checkpoint | undefined,
    full: options.full,
    signal: options.signal,
    scratch: options.scratch,
  };
}

/** Disks are read one after the other, so that each may have all of it. */
function limited(device: BlockDevice, { limits, clock }: BackupOptions): BlockDevice {
  if (limits?.read === undefined) return device;
  return throttledDevice(device, { bytesPerSecond: limits.read, ...(clock ? { clock } : {}) });
}

type Draft = Omit<Point, 'id' | 'started' | 'finished'>;

async function writeAll(work: Work, session: WriteSession, reading: SourceReading): Promise<Draft> {
  const { source, options, parent } = work;
  for (const why of reading.why) work.logger.info(`${source.machine.name}: ${why}`);
  const warnings = reading.skipped.map(({ disk, why }) => `${disk.name} is not in this point: ${why}`);
  for (const warning of warnings) work.logger.warn(`${source.machine.name}: ${warning}`);
  const disks: PointDisk[] = [];
  const notes: string[] = [];
  const hasMemory = reading.memory !== undefined;
  for (const disk of reading.disks) {
    disks.push(await writeDisk({ ...work, session, disk, warnings, notes, hasMemory }));
  }
  const memory = reading.memory && (await writeMemory(work, session, reading.memory));
  const files = [];
  for (const file of reading.files) files.push(await session.writeFile(file.name, file.bytes));
  warnings.push(...((await reading.verify?.()) ?? []));
  return {
    machine: source.machine,
    time: new Date(reading.pointInTime).toISOString(),
    mode: reading.mode,
    quiesced: reading.quiesced,
    disks,
    skipped: reading.skipped.map(({ disk, why }) => ({ name: disk.name, why })),
    files,
    tags: [...(options.tags ?? [])],
    notes: [...(options.notes ?? []), ...reading.why, ...notes],
    warnings,
    memory,
    name: options.name,
    parent: parent?.id,
    checkpoint: reading.checkpoint,
    frozenMs: reading.frozenMs,
    pausedMs: reading.pausedMs,
  };
}

interface DiskWork extends Work {
  session: WriteSession;
  disk: DiskReading;
  warnings: string[];
  notes: string[];
  hasMemory: boolean;
}

async function writeDisk(work: DiskWork): Promise<PointDisk> {
  const { session, source, options, logger, disk: reading, warnings } = work;
  const { disk } = reading;
  const subject = `${source.machine.name} ${disk.name}`;
  const { device, base, freeSpace } = await leaveOutFreeSpace({
    repository: work.repository,
    device: sourceDevice(limited(reading.device, options), `${disk.name} of ${source.machine.name}`),
    point: work.parent,
    base: baseOf(reading, work.parent, options.full ?? false),
    isWanted: options.skipFreeSpace ?? false,
    hasMemory: work.hasMemory,
    signal: options.signal,
  });
  for (const note of freeSpaceNotes(disk.name, freeSpace)) {
    work.notes.push(note);
    logger.info(`${source.machine.name}: ${note}`);
  }
  const written = await session.writeDisk({
    name: disk.name,
    device,
    onProgress: (progress) => options.onProgress?.(subject, progress),
    changed: base.changed,
    parent: work.parent && base.parent && { point: work.parent.id, root: base.parent.root },
    signal: options.signal,
  });
  const { root, figures, trackingFault, parentGone = false } = written;
  for (const note of mendingNotes(disk.name, written)) {
    work.notes.push(note);
    logger.warn(`${source.machine.name}: ${note}`);
  }
  let { whyFull } = base;
  if (parentGone) whyFull = `the point before (${work.parent?.id.slice(0, 8)}) was forgotten meanwhile`;
  if (trackingFault) {
    const since = work.parent?.time ?? 'the first point';
    whyFull = `change tracking called bytes unchanged that differ, first at ${trackingFault.offset}`;
    const warning = `${disk.name}: ${whyFull}; the whole disk was read instead, so this point is right, but points made with change tracking up to ${since} may not be`;
    warnings.push(warning);
    logger.error(`${source.machine.name}: ${warning}`, { disk: disk.name, offset: trackingFault.offset });
  }
  return {
    name: disk.name,
    path: disk.path,
    format: disk.format,
    size: device.size,
    root,
    changed: base.changed && !trackingFault && !parentGone ? 'tracked' : 'all',
    figures,
    slot: disk.slot === '' ? undefined : disk.slot,
    whyFull,
    freeSpace,
    lun: disk.lun && { device: disk.lun.device, identities: [...disk.lun.identities] },
  };
}

function baseOf(reading: DiskReading, parent: Point | undefined, full: boolean): Base {
  if (parent === undefined) return {};
  if (full) return { whyFull: 'asked for' };
  const { changed, disk, device, whyFull } = reading;
  if (changed === undefined) return { whyFull: whyFull ?? 'changes are not tracked' };
  const before = parent.disks.find((other) => (other.slot ?? '') === disk.slot && other.name === disk.name);
  if (before === undefined) {
    return { whyFull: `the point before (${parent.id.slice(0, 8)}) has no ${disk.name} at ${disk.slot}` };
  }
  if (before.size !== device.size) {
    return { whyFull: `the disk had ${before.size} bytes before and has ${device.size} now` };
  }
  return { changed, parent: before };
}

async function writeMemory(
  { source, options }: Work,
  session: WriteSession,
  device: NonNullable<SourceReading['memory']>,
): Promise<PointDisk> {
  const { root, figures } = await session.writeDisk({
    name: 'memory',
    device: sourceDevice(limited(device, options), `the memory of ${source.machine.name}`),
    onProgress: (progress) => options.onProgress?.(`${source.machine.name} memory`, progress),
    signal: options.signal,
  });
  return { name: 'memory', size: device.size, root, changed: 'all', figures };
}

/** The point is committed; tells the machine's side, in this order. Failures do not undo the point. */
async function settle(reading: SourceReading, logger: Logger): Promise<string[]> {
  const afterwards: string[] = [];
  const steps: [string, () => Promise<void>][] = [
    ['moving change tracking on (the next backup reads everything)', () => reading.succeed()],
    ['giving the source back', () => reading.close()],
  ];
  for (const [doing, step] of steps) {
    try {
      await step();
    } catch (error) {
      const { message } = toPrimaError(error, doing);
      afterwards.push(`the point is committed, but ${doing} failed: ${message}`);
    }
  }
  for (const text of afterwards) logger.error(text);
  return afterwards;
}

/** Does every step although one fails; a failure here is said, the one that led here is raised. */
async function cleanUp(
  steps: readonly (() => Promise<void> | undefined)[],
  doing: string,
  logger: Logger,
): Promise<void> {
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      logger.error(`cleaning up after ${doing}: ${toPrimaError(error, 'cleaning up').message}`);
    }
  }
}
