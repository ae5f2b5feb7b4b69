/** Starting and ending machines of a libvirt host. */
import { PrimaError, silentLogger, systemClock, throwIfAborted, toPrimaError } from '@prima/base';
import {
  CreateFlags,
  DestroyFlags,
  type Domain as DomainRef,
  DomainState,
  type LibvirtConnection,
  ShutdownFlags,
} from '@prima/libvirt';
import type { MachineState, PowerAction, PowerOptions } from '../platform.ts';

const startTimeoutMs = 120_000;
/** All of the memory goes to a file, or comes from it. */
const memoryTimeoutMs = 3_600_000;
const stopTimeoutMs = 60_000;
/** A guest that does not listen to its power button yet is asked again. */
const askAgainMs = 10_000;

export async function machineState(connection: LibvirtConnection, dom: DomainRef): Promise<MachineState> {
  const { state } = await connection.call('domainGetState', { dom });
  switch (state) {
    case DomainState.VIR_DOMAIN_RUNNING:
    case DomainState.VIR_DOMAIN_BLOCKED:
    case DomainState.VIR_DOMAIN_SHUTDOWN:
      return 'running';
    case DomainState.VIR_DOMAIN_PAUSED:
    case DomainState.VIR_DOMAIN_PMSUSPENDED:
      return 'paused';
    case DomainState.VIR_DOMAIN_SHUTOFF:
    case DomainState.VIR_DOMAIN_CRASHED: {
      const { result } = await connection.call('domainHasManagedSaveImage', { dom });
      return result ? 'suspended' : 'off';
    }
    default:
      return 'unknown';
  }
}

/** Does nothing where the state is reached already; raises `state` where the action does not fit it. */
export async function power(
  connection: LibvirtConnection,
  dom: DomainRef,
  action: PowerAction,
  options: PowerOptions,
): Promise<void> {
  if (options.redo !== undefined) {
    throw new PrimaError('unsupported', `${dom.name} is on a libvirt host, whose machines have no redo logs`);
  }
  const state = await machineState(connection, dom);
  const does = actions[action];
  if (does.done.includes(state)) return;
  if (!does.from.includes(state)) {
    throw new PrimaError('state', `${dom.name} is ${state}: it cannot ${action}`);
  }
  await does.run({ connection, dom, state, options });
}

interface Acting {
  connection: LibvirtConnection;
  dom: DomainRef;
  state: MachineState;
  options: PowerOptions;
}

const actions: Record<
  PowerAction,
  { done: MachineState[]; from: MachineState[]; run(acting: Acting): Promise<void> }
> = {
  start: { done: ['running'], from: ['off', 'suspended'], run: start },
  resume: { done: ['running'], from: ['suspended', 'paused'], run: goOn },
  continue: { done: ['running'], from: ['paused'], run: goOn },
  pause: {
    done: ['paused'],
    from: ['running'],
    run: async ({ connection, dom }) => void (await connection.call('domainSuspend', { dom })),
  },
  suspend: {
    done: ['suspended'],
    from: ['running', 'paused'],
    run: async ({ connection, dom }) =>
      void (await connection.call('domainManagedSave', { dom }, { timeoutMs: memoryTimeoutMs })),
  },
  stop: { done: ['off', 'suspended'], from: ['running', 'paused'], run: stop },
  kill: { done: ['off'], from: ['running', 'paused', 'suspended'], run: kill },
};

async function start({ connection, dom, state }: Acting): Promise<void> {
  const timeoutMs = state === 'suspended' ? memoryTimeoutMs : startTimeoutMs;
  const flags = CreateFlags.VIR_DOMAIN_NONE;
  await connection.call('domainCreateWithFlags', { dom, flags }, { timeoutMs });
}

async function goOn(acting: Acting): Promise<void> {
  if (acting.state === 'suspended') return start(acting);
  await acting.connection.call('domainResume', { dom: acting.dom });
}

/** Presses the power button, and switches off when the guest takes too long. */
async function stop({ connection, dom, state, options }: Acting): Promise<void> {
  const { timeoutMs = stopTimeoutMs, signal, logger = silentLogger } = options;
  if (state === 'paused') await connection.call('domainResume', { dom });
  const flags = ShutdownFlags.VIR_DOMAIN_SHUTDOWN_DEFAULT;
  const begun = systemClock.monotonic();
  let asked = Number.NEGATIVE_INFINITY;
  for (;;) {
    throwIfAborted(signal, `stopping ${dom.name}`);
    const now = systemClock.monotonic();
    if ((await machineState(connection, dom).catch(offWhereGone)) === 'off') return;
    if (now - begun > timeoutMs) break;
    if (now - asked > askAgainMs) {
      await connection.call('domainShutdownFlags', { dom, flags });
      asked = now;
    }
    await systemClock.sleep(200, signal);
  }
  logger.warn(`${dom.name} did not shut down within ${timeoutMs / 1000} s and is switched off`);
  await destroy(connection, dom);
}

/** A transient machine that has ended is unknown to libvirt. */
function offWhereGone(error: unknown): MachineState {
  if (toPrimaError(error, 'looking').code === 'not-found') return 'off';
  throw error;
}

async function kill({ connection, dom, state }: Acting): Promise<void> {
  if (state === 'suspended') await connection.call('domainManagedSaveRemove', { dom });
  else await destroy(connection, dom);
}

async function destroy(connection: LibvirtConnection, dom: DomainRef): Promise<void> {
  const flags = DestroyFlags.VIR_DOMAIN_DESTROY_DEFAULT;
  await connection.call('domainDestroyFlags', { dom, flags }, { timeoutMs: startTimeoutMs });
}
