/**
 * Brings a recovering machine's disks to their place, a step at a time: each step looks how things are and does what comes next, so
 * it does not matter who did the steps before, nor what happened between.
 */
import { type Logger, systemClock, toPrimaError } from '@prima/base';
import {
  BlockCopyFlags,
  BlockJobAbortFlags,
  BlockJobInfoFlags,
  BlockPullFlags,
  type Domain as DomainRef,
  type LibvirtConnection,
} from '@prima/libvirt';
import type { AttendOptions } from '../../recovery.ts';
import type { NotedDisk } from './note.ts';
import type { DiskNow } from './shape.ts';

export interface MoveStep {
  connection: LibvirtConnection;
  dom: DomainRef;
  noted: NotedDisk;
  now: DiskNow;
  options: AttendOptions;
  logger: Logger;
}

/** A job that ends without a trace is begun anew, later each time. */
const firstPauseMs = 500;
/** QEMU finds an export that was away again at its second or third request: so many jobs may end. */
const quietAttempts = 4;
const longestPauseMs = 60_000;

interface Attempt {
  count: number;
  notBefore: number;
}

export class DiskMoves {
  readonly #attempts = new Map<string, Attempt>();

  /** Raises what looking raises; a job that cannot be begun is said, and tried again. */
  async step(step: MoveStep): Promise<void> {
    const { connection, dom, noted, now, options } = step;
    const job = await connection.call('domainGetBlockJobInfo', {
      dom,
      disk: noted.target,
      flags: BlockJobInfoFlags.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES,
    });
    if (!job.found) {
      await this.#begin(step);
      return;
    }
    const total = Number(job.end);
    if (total > 0) options.onProgress?.(noted.disk, { phase: 'moving', done: Number(job.cur), total });
    if (now.copyIsReady) await changeOver(step);
  }

  async #begin(step: MoveStep): Promise<void> {
    const { noted, dom, logger } = step;
    const { count, notBefore } = this.#attempts.get(noted.target) ?? { count: 0, notBefore: 0 };
    const time = systemClock.monotonic();
    if (time < notBefore) return;
    const pause = Math.min(firstPauseMs * 2 ** count, longestPauseMs);
    this.#attempts.set(noted.target, { count: count + 1, notBefore: time + pause });
    if (count >= quietAttempts) {
      logger.warn(
        `moving ${noted.disk} of ${dom.name} has stopped ${count} times and is tried again; see the daemon's log and what was said of the export`,
      );
    }
    try {
      await (noted.final ? beginCopy(step, noted.final.xml) : beginPull(step));
    } catch (error) {
      logger.warn(`moving ${noted.disk} of ${dom.name}: ${toPrimaError(error, 'beginning').message}`);
    }
  }
}

async function beginPull({ connection, dom, noted, options }: MoveStep): Promise<void> {
  await connection.call('domainBlockPull', {
    dom,
    disk: noted.target,
    bandwidth: options.moveRate ?? 0,
    flags: BlockPullFlags.VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES,
  });
}

/** Into the volume that is there; anew from its beginning, where a copy before did not get to its end. */
async function beginCopy({ connection, dom, noted, options }: MoveStep, destXml: string): Promise<void> {
  const { moveRate } = options;
  await connection.call('domainBlockCopy', {
    dom,
    disk: noted.target,
    destXml,
    params: moveRate === undefined ? [] : [{ field: 'bandwidth', type: 'ullong', value: BigInt(moveRate) }],
    flags:
      BlockCopyFlags.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | BlockCopyFlags.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB,
  });
}

async function changeOver({ connection, dom, noted }: MoveStep): Promise<void> {
  const flags = BlockJobAbortFlags.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT;
  await connection.call('domainBlockJobAbort', { dom, disk: noted.target, flags });
}
