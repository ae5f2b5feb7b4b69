/**
 * Watches the scratch files of a running backup. When they are full, QEMU (7.2) fails the guest's own writes, so the job is
 * ended before: the backup fails, the guest does not notice.
 */
import { formatBytes, MiB, PrimaError, systemClock, toPrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { currentJob, endBackup, isOurBackup } from './job.ts';
import { freeBytes, type Plan } from './plan.ts';

const intervalMs = 200;
/** What a guest may write between two looks, and what QEMU needs to end in order. */
const reserveBytes = 64 * MiB;

export interface ScratchWatch {
  /** Why the job was ended; undefined while it was not. */
  readonly failure: PrimaError | undefined;
  /** Ends the watch, not the job. */
  stop(): Promise<void>;
}

export interface WatchRequest {
  connection: () => Promise<LibvirtConnection>;
  dom: DomainRef;
  plan: Plan;
  isLocal: boolean;
  /** Whose job it is: another's is not ended. */
  run: string;
}

export function watchScratch(request: WatchRequest): ScratchWatch {
  const stopping = new AbortController();
  const state: { failure: PrimaError | undefined } = { failure: undefined };
  const loop = async () => {
    while (!stopping.signal.aborted && !state.failure) {
      try {
        state.failure = await look(request);
      } catch (error) {
        // the daemon is away: QEMU runs on, and the next look may reach it
        toPrimaError(error, 'watching scratch files');
      }
      await systemClock.sleep(intervalMs, stopping.signal).catch(() => undefined);
    }
  };
  const running = loop();
  return {
    get failure() {
      return state.failure;
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function look({ connection, dom, plan, isLocal, run }: WatchRequest): Promise<PrimaError | undefined> {
  const host = await connection();
  const job = await currentJob(host, dom);
  if (!job) return undefined;
  const room = isLocal ? await roomHere(plan.scratchFolder) : Number.POSITIVE_INFINITY;
  const isFull = job.scratchBytes > plan.scratchLimitBytes;
  if (!isFull && room >= reserveBytes) return undefined;
  const why = isFull
    ? `the guest overwrote more than ${formatBytes(plan.scratchLimitBytes)} while it was being backed up`
    : `only ${formatBytes(room)} are left in ${plan.scratchFolder}, where the guest's overwritten blocks are kept`;
  if (!(await isOurBackup(host, dom, run))) return undefined;
  await endBackup(host, dom);
  return new PrimaError(
    'no-space',
    `${dom.name}: ${why}; the backup was ended before the guest could notice. Allow more scratch space or give it another folder, or back up when less is written`,
  );
}

/** Who may use the daemon need not be let into its folders; then the limit alone is watched. */
async function roomHere(folder: string): Promise<number> {
  try {
    return await freeBytes(folder);
  } catch (error) {
    toPrimaError(error, `looking for free room in ${folder}`);
    return Number.POSITIVE_INFINITY;
  }
}
