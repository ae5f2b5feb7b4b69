/** The job that a machine may have: one at a time, in libvirt as a whole. */
import { PrimaError, RemoteError, systemClock } from '@prima/base';
import {
  BlockJobType,
  type Domain as DomainRef,
  JobOperation,
  JobType,
  LibvirtError,
  type LibvirtConnection,
  paramValues,
} from '@prima/libvirt';
import { isOfRun, parseBackup, type RunningBackup } from './backup-xml.ts';
import { readRollbackNote } from './rollback/note.ts';

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

/** Whether the backup of one run of Prima's is under way. */
export async function isOurBackup(
  connection: LibvirtConnection,
  dom: DomainRef,
  run: string,
): Promise<boolean> {
  const backup = await currentBackup(connection, dom);
  return backup !== undefined && isOfRun(backup, run);
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

/** A disk that a block job works on is in no backup and no snapshot. Raises `busy`, saying how that ends. @param targets `vda` */
export async function checkNoBlockJob(
  connection: LibvirtConnection,
  dom: DomainRef,
  targets: readonly string[],
): Promise<void> {
  for (const target of targets) {
    const { found, type } = await connection.call('domainGetBlockJobInfo', { dom, disk: target });
    if (!found) continue;
    const [name = ''] = Object.entries(BlockJobType).find(([, number]) => number === type) ?? [];
    const what = name.replace('VIR_DOMAIN_BLOCK_JOB_TYPE_', '').toLowerCase().replaceAll('_', ' ');
    const note = await readRollbackNote(connection, dom);
    const isKeeping = note?.phase === 'keeping' && note.disks.some((disk) => disk.target === target);
    const next = isKeeping
      ? `its rollback point is being kept; finish that if nobody is at it (prima machine rollback keep HOST/${dom.name})`
      : `try again when it is done, or end it (virsh blockjob ${dom.name} ${target})`;
    throw new PrimaError('busy', `${target} of ${dom.name} has a block job under way (${what}): ${next}`, {
      retryable: true,
    });
  }
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
