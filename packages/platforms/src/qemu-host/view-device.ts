/** The point-in-time view of a running disk: an NBD device whose failures are explained. */
import { formatBytes, MiB, PrimaError, statIfThere } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { findMachineProcess } from '@prima/qemu';
import { explainedDevice } from '../explained-device.ts';
import type { LiveDisk } from './live-plan.ts';

/** A copy of up to 1 MiB at once must fit, so the view may break well before the last byte is used. */
const slackBytes = 2 * MiB;

/**
 * `device`, whose errors tell the two things that usually are behind them: the scratch file is full (`no-space`),
 * or the machine has ended (`source-changed`).
 */
export function viewDevice(device: BlockDevice, live: LiveDisk, runFolder: string): BlockDevice {
  return explainedDevice(device, (failure) => explainView(live, runFolder, failure));
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
