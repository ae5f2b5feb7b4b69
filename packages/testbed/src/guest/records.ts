/** Asks a running tiny guest whether the records it wrote are all there; see ../../guest/bin/verify-records. */
import { ProtocolError } from '@prima/base';
import type { GuestAgent } from '@prima/qemu';

/** What verify-records printed. */
export interface RecordsReport {
  records: number;
  /** Sequence numbers of the first and last record; 0 when there is none. */
  first: number;
  last: number;
  /** Faults in all; 0 means that nothing is lost or changed. The next four say of which kind. */
  bad: number;
  badRecords: number;
  gaps: number;
  badBlocks: number;
  missing: number;
  /** 1 when the block of the record after the last was (perhaps partly) written already; no fault. */
  newer: number;
  /** Bytes of a record whose appending was cut short; no fault. */
  torn: number;
  /** Churn blocks that were compared. */
  churnBlocks: number;
  /** When the last record was made: uptime in hundredths of a second. */
  written: number;
  /** Seconds since the guest was booted. */
  uptime: number;
  /** Counts up in memory, five a second; starts anew with a boot and only with a boot. */
  counter: number;
  bootId: string;
}

/** Runs verify-records on `folder` in the guest; faults are in the report, not raised. Takes some seconds. */
export async function verifyRecords(
  agent: Pick<GuestAgent, 'exec'>,
  folder = '/data',
): Promise<RecordsReport> {
  const { stdout, stderr, status } = await agent.exec('/bin/verify-records', [folder], {
    timeoutMs: 120_000,
  });
  try {
    return JSON.parse(stdout) as RecordsReport;
  } catch (error) {
    throw new ProtocolError(
      `verify-records ended with status ${status}, printed "${stdout}" and "${stderr}"`,
      {
        cause: error,
      },
    );
  }
}
