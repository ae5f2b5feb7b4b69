/** Whether a machine runs, asked of QEMU itself; a pid alone is never believed. */
import { toPrimaError } from '@prima/base';
import { connectGuestAgent, connectQmp, findMachineProcess, type QmpClient } from '@prima/qemu';
import type { Machine, MachineState } from '../platform.ts';
import { fileExists, type MachinePaths } from './machine-folder.ts';
import { queryStatus } from './qemu-blocks.ts';

export interface FoundState {
  state: MachineState;
  agent: Machine['agent'];
  accelerator?: string;
  notes: string[];
}

const patienceMs = 5_000;
const agentPatienceMs = 1_000;

/** QEMU's run states (qapi/run-state.json) that are not plainly `running` or `paused`, in words. */
const oddStates: Partial<Record<string, string>> = {
  'io-error':
    'stopped by QEMU after an I/O error of a disk; once that is mended, or there is room again, prima machine resume lets it go on',
  'internal-error': 'stopped by QEMU after an internal error',
  'guest-panicked': 'its system has crashed',
  inmigrate: 'waiting for saved memory',
  postmigrate: 'its memory has been saved',
  shutdown: 'its system is shut down, QEMU still runs',
};

export async function machineState(paths: MachinePaths): Promise<FoundState> {
  try {
    if (!(await findMachineProcess(paths.run))) {
      const suspended = await fileExists(paths.memory);
      return { state: suspended ? 'suspended' : 'off', agent: 'unknown', notes: [] };
    }
    return await runningState(paths);
  } catch (error) {
    const { message } = toPrimaError(error, `looking at the machine in ${paths.folder}`);
    return { state: 'unknown', agent: 'unknown', notes: [message] };
  }
}

async function runningState(paths: MachinePaths): Promise<FoundState> {
  const found = await withControl(paths, async (qmp) => ({
    status: await queryStatus(qmp),
    kvm: await qmp.execute<{ enabled: boolean }>('query-kvm'),
  }));
  const odd = oddStates[found.status];
  const state = found.status === 'running' ? 'running' : 'paused';
  const agent = state === 'running' ? await askAgent(paths) : 'unknown';
  const notes = odd === undefined ? [] : [odd];
  return { state, agent, accelerator: found.kvm.enabled ? 'kvm' : 'tcg', notes };
}

async function askAgent(paths: MachinePaths): Promise<Machine['agent']> {
  try {
    const agent = await connectGuestAgent(paths.agent, { timeoutMs: agentPatienceMs });
    await agent.close();
    return 'answers';
  } catch (error) {
    if (toPrimaError(error, 'asking the guest agent').code === 'internal') throw error;
    return 'silent';
  }
}

/** Talks to the control monitor, and lets go of it. */
export async function withControl<T>(
  paths: MachinePaths,
  task: (qmp: QmpClient) => Promise<T>,
  timeoutMs = patienceMs,
): Promise<T> {
  const qmp = await connectQmp(paths.control, { timeoutMs });
  try {
    return await task(qmp);
  } finally {
    await qmp.close();
  }
}
