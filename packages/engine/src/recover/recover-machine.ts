/** Runs a machine from the repository, and moves its disks while it runs: docs/operating/instant-recovery.md. */
import {
  type Logger,
  PrimaError,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Machine, Platform, RecoveringMachine, RecoveryPlatform } from '@prima/platforms';
import type { Point, Repository } from '@prima/repository';
import type { Journal } from '../journal.ts';
import { DamageLog } from '../restore/damage-log.ts';
import { hostRequest } from '../restore/host-request.ts';

export interface AttendRecoveryOptions {
  /** Move the disks to their place and end; otherwise serve until the signal aborts. Default true. */
  move?: boolean;
  /** Bytes a second at most for the moving. */
  moveRate?: number;
  /** Serve zeros where the point cannot be read. Without it the machine waits there. */
  allowDamaged?: boolean;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface RecoverOptions extends AttendRecoveryOptions {
  /** The machine's name there; default the one it had. */
  as?: string;
  /** The host's storage pool that all disks end in. */
  pool?: string;
  journal: Journal;
}

export interface RecoveredMachine {
  machine: Machine;
  point: Point;
  /** It was begun before. */
  resumed: boolean;
  /** From the call until the machine ran, milliseconds. */
  startedMs: number;
  disks: readonly { disk: string; path: string }[];
}

/**
 * Runs `point` on `platform`, or goes on where that was begun before. Resolves when the machine needs nothing of ours any more. Raises
 * `unsupported` for hosts that cannot, `exists` when another machine has the name. When it is cancelled, or fails once the machine
 * runs, the machine waits until somebody goes on.
 */
export async function recoverMachine(
  repository: Repository,
  point: Point,
  platform: Platform,
  options: RecoverOptions,
): Promise<RecoveredMachine> {
  const { signal, logger = silentLogger, as, pool } = options;
  const begun = performance.now();
  const doing = `recovering ${point.machine.name} on the host ${platform.name}`;
  throwIfAborted(signal, doing);
  const recovery = recoveryOf(platform);
  const known = await findRecovering(platform, recovery, as ?? point.machine.name);
  if (known?.point === point.id)
    return attend(known, { repository, point, platform, options, begun, resumed: true });
  const asked = await hostRequest(repository, point, { as, pool, signal, logger });
  await using entry = await options.journal.begin(doing, [{ kind: 'host', host: platform.name }]);
  const made = await recovery.prepare({ ...asked, repository: repository.id, point: point.id });
  await entry.end();
  for (const note of made.notes) logger.info(note);
  try {
    return await attend(made, { repository, point, platform, options, begun, resumed: false });
  } catch (error) {
    throw error instanceof NeverRan ? await takenBack(made, error.reason) : error;
  }
}

/** Goes on with what was begun before, by whomever. Raises `state` for a machine that is not under recovery. */
export async function resumeRecovery(
  repository: Repository,
  platform: Platform,
  machine: Machine,
  options: AttendRecoveryOptions,
): Promise<RecoveredMachine> {
  const begun = performance.now();
  const recovering = await mustRecover(platform, machine);
  const point = (await repository.points()).find(({ id }) => id === recovering.point);
  if (!point) throw notHere(recovering, repository);
  try {
    return await attend(recovering, { repository, point, platform, options, begun, resumed: true });
  } catch (error) {
    throw error instanceof NeverRan ? error.reason : error;
  }
}

/** Removes a machine that is under recovery, with what its guest wrote. Raises `state` for another. */
export async function cancelRecovery(platform: Platform, machine: Machine): Promise<void> {
  await (await mustRecover(platform, machine)).cancel();
}

async function mustRecover(platform: Platform, machine: Machine): Promise<RecoveringMachine> {
  const recovering = await recoveryOf(platform).find(machine);
  if (recovering) return recovering;
  throw new PrimaError(
    'state',
    `${machine.host}/${machine.name} is not under recovery: its disks are all its own`,
  );
}

function recoveryOf({ recovery, kind, name }: Platform): RecoveryPlatform {
  if (recovery) return recovery;
  throw new UserError(
    'unsupported',
    `${name} is a host of the kind ${kind}, on which machines do not run from a repository; restore it: prima restore … --to-host ${name} --start`,
  );
}

async function findRecovering(
  platform: Platform,
  recovery: RecoveryPlatform,
  name: string,
): Promise<RecoveringMachine | undefined> {
  try {
    return await recovery.find(await platform.find(name));
  } catch (error) {
    if (toPrimaError(error, 'looking').code === 'not-found') return undefined;
    throw error;
  }
}

function notHere({ repository, point, machine }: RecoveringMachine, here: Repository): PrimaError {
  const where =
    repository === here.id
      ? 'it was forgotten'
      : `it is in the repository ${repository}, and this is ${here.id} (${here.url})`;
  return new PrimaError(
    'not-found',
    `${machine.host}/${machine.name} runs from the point ${point.slice(0, 12)}, which is not here: ${where}`,
  );
}

/** The machine was never started, so nothing of it is worth keeping. */
class NeverRan extends Error {
  readonly reason: PrimaError;

  constructor(reason: PrimaError) {
    super(reason.message, { cause: reason });
    this.reason = reason;
  }
}

async function takenBack(made: RecoveringMachine, reason: PrimaError): Promise<PrimaError> {
  try {
    await made.cancel();
    return reason;
  } catch (error) {
    const second = toPrimaError(error, 'taking it back').message;
    return new PrimaError(reason.code, `${reason.message}; and then ${second}`, { cause: reason });
  }
}

interface Attending {
  repository: Repository;
  point: Point;
  platform: Platform;
  options: AttendRecoveryOptions;
  begun: number;
  resumed: boolean;
}

async function attend(recovering: RecoveringMachine, attending: Attending): Promise<RecoveredMachine> {
  const { repository, point, options, begun, resumed, platform } = attending;
  const { signal, logger = silentLogger, move = true, moveRate, onProgress } = options;
  const name = `${platform.name}/${recovering.machine.name}`;
  await using stack = new AsyncDisposableStack();
  let machine: Machine;
  try {
    const devices = await openDisks(repository, point, { stack, options });
    stack.use(await recovering.serve(devices, { logger }));
    machine = await recovering.start({ signal });
  } catch (error) {
    throw new NeverRan(toPrimaError(error, `starting ${name}`));
  }
  const startedMs = performance.now() - begun;
  const after = `after ${(startedMs / 1000).toFixed(1)} s`;
  const isUp = machine.state === 'running';
  logger.info(
    isUp ? `${name} runs ${after}; its disks come from here` : `${name} has its disks again ${after}`,
  );
  try {
    await recovering.attend({
      move,
      signal,
      logger,
      ...(moveRate === undefined ? {} : { moveRate }),
      onProgress: (disk, progress) => onProgress?.(`${recovering.machine.name} ${disk}`, progress),
    });
  } catch (error) {
    throw saysHowToGoOn(toPrimaError(error, `recovering ${name}`), name);
  }
  const now = await platform.find(machine.id);
  return { machine: now, point, resumed, startedMs, disks: recovering.disks };
}

async function openDisks(
  repository: Repository,
  point: Point,
  { stack, options }: { stack: AsyncDisposableStack; options: AttendRecoveryOptions },
): Promise<Map<string, BlockDevice>> {
  const damage = new DamageLog(options.allowDamaged ?? false, options.logger);
  const devices = new Map<string, BlockDevice>();
  for (const disk of point.disks) {
    const device = await repository.openDisk(point, disk.name, damage.opening(disk.name));
    stack.defer(() => device.close());
    devices.set(disk.name, device);
  }
  return devices;
}

function saysHowToGoOn(failure: PrimaError, name: string): PrimaError {
  if (failure.code === 'not-found') return failure;
  return new PrimaError(
    failure.code,
    `${failure.message}; ${name} waits for its disks: go on with: prima recover --resume ${name} (or take it back: --cancel)`,
    { cause: failure, retryable: failure.retryable, details: failure.details },
  );
}
