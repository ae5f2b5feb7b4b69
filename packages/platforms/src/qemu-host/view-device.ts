/** The point-in-time view of a running disk: an NBD device whose failures are explained. */
import { formatBytes, MiB, PrimaError, toPrimaError, statIfThere } from '@prima/base';
import { type BlockDevice, type Extent, type ExtentOptions, filterDevice, type Range } from '@prima/block';
import { findMachineProcess } from '@prima/qemu';
import type { LiveDisk } from './live-plan.ts';

/** A copy of up to 1 MiB at once must fit, so the view may break well before the last byte is used. */
const slackBytes = 2 * MiB;

/**
 * `device`, whose errors tell the two things that usually are behind them: the scratch file is full (`no-space`),
 * or the machine has ended (`source-changed`).
 */
export function viewDevice(device: BlockDevice, live: LiveDisk, runFolder: string): BlockDevice {
  const explain = async (error: unknown): Promise<PrimaError> => {
    const failure = toPrimaError(error, `reading ${live.disk.name}`);
    if (failure.code === 'cancelled' || failure.code === 'internal') return failure;
    return (await explainView(live, runFolder, failure)) ?? failure;
  };
  const read = async (offset: number, into: Uint8Array, signal?: AbortSignal) => {
    try {
      await device.read(offset, into, signal);
    } catch (error) {
      throw await explain(error);
    }
  };
  async function* extents(range: Range, options?: ExtentOptions): AsyncGenerator<Extent> {
    try {
      yield* device.extents(range, options);
    } catch (error) {
      throw await explain(error);
    }
  }
  return filterDevice(device, { read, extents });
}

async function explainView(
  { disk, names, scratchLimitBytes }: LiveDisk,
  runFolder: string,
  cause: PrimaError,
): Promise<PrimaError | undefined> {
  if (!(await findMachineProcess(runFolder))) {
    const message = `reading ${disk.name}: the machine ended while it was being backed up`;
    return new PrimaError('source-changed', message, { cause, retryable: true });
  }
  const scratch = await statIfThere(names.scratchFile);
  const fullBytes = scratchLimitBytes - Math.min(slackBytes, scratchLimitBytes / 2);
  if (!scratch || scratch.blocks * 512 < fullBytes) return undefined;
  const limit = formatBytes(scratchLimitBytes);
  return new PrimaError(
    'no-space',
    `reading ${disk.name}: the scratch file ${names.scratchFile} is full; the guest overwrote more than ${limit} ` +
      'while it was being backed up (it was not disturbed). Allow more scratch space, or back up when less is written',
    { cause },
  );
}
