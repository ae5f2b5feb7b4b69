/** What the demonstration asks its guest. */
import { join } from 'node:path';
import type { MachineDto } from '@prima/api';
import { PrimaError, RemoteError, systemClock, toPrimaError, withDeadline } from '@prima/base';
import { connectGuestAgent, type GuestAgent } from '@prima/qemu';
import { type RecordsReport, verifyRecords } from '@prima/testbed';

/** Software emulation on a busy computer is slow; an idle one needs a tenth of it. */
const answerWithinMs = 120_000;

/** What the guest is at now. */
export interface GuestState {
  /** Records that are whole on its disk. */
  records: number;
  /** Counts up in memory, five a second, from its boot on. */
  counter: number;
  bootId: string;
}

/** A record's length in bytes; see the guest's records.sh. */
const recordBytes = 108;

/** Asks the guest; waits until its agent answers. */
export async function guestState(machine: MachineDto, signal: AbortSignal): Promise<GuestState> {
  return withGuest(machine, signal, async (agent) => {
    const script =
      'stat -c %s /data/records 2>/dev/null || echo 0; cat /run/counter; cat /proc/sys/kernel/random/boot_id';
    const { stdout, stderr } = await agent.exec('/bin/sh', ['-c', script], { signal });
    const [bytes, counter, bootId = ''] = stdout.trim().split('\n');
    if (bootId.length !== 36) throw new RemoteError(`the guest answered "${stdout}" and "${stderr}"`);
    return { records: Math.floor(Number(bytes) / recordBytes), counter: Number(counter), bootId };
  });
}

/** Waits until the guest has written so many records. */
export async function waitForRecords(
  machine: MachineDto,
  records: number,
  signal: AbortSignal,
): Promise<GuestState> {
  return withDeadline(
    answerWithinMs,
    `waiting until the guest has written ${records} records`,
    async (inner) => {
      for (;;) {
        const state = await guestState(machine, inner);
        if (state.records >= records) return state;
        await systemClock.sleep(500, inner);
      }
    },
    signal,
  );
}

/** Lets the guest check every record that it has. */
export function guestVerify(machine: MachineDto, signal: AbortSignal): Promise<RecordsReport> {
  return withGuest(machine, signal, (agent) => verifyRecords(agent));
}

/** Connects for one task only: QEMU lets one talk to the agent at a time, and backups need it, too. */
async function withGuest<T>(
  { folder }: MachineDto,
  signal: AbortSignal,
  task: (agent: GuestAgent) => Promise<T>,
): Promise<T> {
  if (folder === undefined) throw new PrimaError('internal', 'the machine has no folder');
  const socket = join(folder, '.run', 'qga.sock');
  const agent = await withDeadline(
    answerWithinMs,
    'waiting for the agent in the guest',
    async (inner) => {
      for (;;) {
        try {
          return await connectGuestAgent(socket, { timeoutMs: 5000, signal: inner });
        } catch (error) {
          const { code } = toPrimaError(error, 'connecting to the agent');
          if (code === 'cancelled' || code === 'permission') throw error;
          await systemClock.sleep(200, inner); // it is still booting
        }
      }
    },
    signal,
  );
  try {
    return await task(agent);
  } finally {
    await agent.close();
  }
}
