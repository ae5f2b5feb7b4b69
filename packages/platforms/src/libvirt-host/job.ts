/** The job that a machine may have: one at a time, in libvirt as a whole. */
import { PrimaError, RemoteError, systemClock } from '@prima/base';
import {
  type Domain as DomainRef,
  JobOperation,
  JobType,
  LibvirtError,
  type LibvirtConnection,
  paramValues,
} from '@prima/libvirt';
import { parseBackup, type RunningBackup } from './backup-xml.ts';

export interface Job {
  /** Of `JobOperation`. */
  operation: number;
  /** Of a backup: what the guest's overwritten blocks take, bytes. */
  scratchBytes: number;
}

/** Undefined when none runs, or the machine does not. */
export async function currentJob(connection: LibvirtConnection, dom: DomainRef): Promise<Job | undefined> {
  try {
    const { type, params } = await connection.call('domainGetJobStats', { dom });
    if (type === JobType.VIR_DOMAIN_JOB_NONE) return undefined;
    const values = paramValues(params);
    return {
      operation: Number(values['operation'] ?? 0),
      scratchBytes: Number(values['disk_temp_used'] ?? 0),
    };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** The backup that runs, whosever it is. */
export async function currentBackup(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<RunningBackup | undefined> {
  try {
    return parseBackup((await connection.call('domainBackupGetXmlDesc', { dom })).xml);
  } catch (error) {
    if (isGone(error) || (error instanceof LibvirtError && error.libvirtCode === 'VIR_ERR_NO_DOMAIN_BACKUP'))
      return undefined;
    throw error;
  }
}

/** Raises `busy`, naming what is under way. */
export async function checkNoJob(connection: LibvirtConnection, dom: DomainRef): Promise<void> {
  const job = await currentJob(connection, dom);
  if (!job) return;
  const names = Object.entries(JobOperation) as [string, number][];
  const name = names.find(([, number]) => number === job.operation)?.[0] ?? '';
  const what = name.replace('VIR_DOMAIN_JOB_OPERATION_', '').toLowerCase().replaceAll('_', ' ') || 'unknown';
  throw new PrimaError(
    'busy',
    `${dom.name} has another job under way (${what}); try again when it is done, or end it (virsh domjobabort ${dom.name})`,
    { retryable: true },
  );
}

/** Ends the machine's backup job and waits until it is gone, with its scratch files. Answers whether there was one. */
export async function endBackup(
  connection: LibvirtConnection,
  dom: DomainRef,
  timeoutMs = 60_000,
): Promise<boolean> {
  const start = systemClock.monotonic();
  try {
    await connection.call('domainAbortJob', { dom });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  for (;;) {
    if ((await currentBackup(connection, dom)) === undefined) return true;
    if (systemClock.monotonic() - start > timeoutMs) {
      throw new RemoteError(`the backup job of ${dom.name} does not end; see virsh domjobinfo ${dom.name}`, {
        code: 'timeout',
        retryable: true,
      });
    }
    await systemClock.sleep(50);
  }
}

/** The machine has ended, or there is no job. */
export function isGone(error: unknown): boolean {
  return (
    error instanceof LibvirtError &&
    (error.libvirtCode === 'VIR_ERR_OPERATION_INVALID' || error.libvirtCode === 'VIR_ERR_NO_DOMAIN')
  );
}
