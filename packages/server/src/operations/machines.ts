/** Operations on machines: list, show, create, power, delete, look at. */
import { resolve } from 'node:path';
import type { MachineCreateRequest, MachineDoctorResult, MachineDto, PrimaApi } from '@prima/api';
import { UserError } from '@prima/base';
import type { ExportKind } from '@prima/engine';
import type { Checkpoint, Machine, Platform } from '@prima/platforms';
import { newest, type Point } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { machineDto } from '../dto.ts';
import { findMachineTarget } from '../machine-target.ts';

export type MachineOperations = Pick<
  PrimaApi,
  | 'machineList'
  | 'machineShow'
  | 'machineCreate'
  | 'machineImport'
  | 'machineExport'
  | 'machinePower'
  | 'machineDoctor'
  | 'machineDelete'
  | 'machineScreenshot'
  | 'machineConsole'
>;

const powerActions = ['start', 'stop', 'kill', 'suspend', 'resume'];

export function machineOperations(context: Context): MachineOperations {
  return {
    machineList: ({ host }, options) => context.run(options, (call) => list(context, host, call)),
    machineShow: ({ machine }, options) =>
      context.run(options, async (call) => {
        const found = await findMachine(context, machine, call.signal);
        return withPoints(context, [found.machine], call).then(([dto]) => dto ?? machineDto(found.machine));
      }),
    machineCreate: (request, options) =>
      context.run(options, async ({ logger }) => {
        checkCreate(request);
        await context.recover(logger);
        const { host, ...rest } = request;
        return machineDto(await (await context.platform(host)).create(rest));
      }),
    machineImport: ({ host, path, ...request }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        const { importPackage } = await import('@prima/engine');
        const journal = await context.recover(logger);
        const work = { ...request, journal, signal, logger, onProgress };
        const found = await importPackage(resolve(path), await context.platform(host), work);
        const machine = machineDto(found.machine);
        return { ...found, machine, elapsedMs: performance.now() - started };
      }),
    machineExport: ({ machine: name, folder, kind, ...request }, options) =>
      context.run(options, async (call) => {
        const started = performance.now();
        const { exportMachine } = await import('@prima/engine');
        const { signal, logger, onProgress } = call;
        const journal = await context.recover(logger);
        const target = await findMachineTarget(context, name, call);
        const work = { ...request, kind: await exportKind(kind), journal, signal, logger, onProgress };
        const exported = await exportMachine(target, folder, work);
        return { machine: target.machine.name, ...exported, elapsedMs: performance.now() - started };
      }),
    machinePower: ({ machine: name, action, timeoutMs, redo }, options) =>
      context.run(options, async ({ signal, logger }) => {
        if (!powerActions.includes(action)) {
          throw new UserError('usage', `"${action}" is not an action; write ${powerActions.join(', ')}`);
        }
        await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        return machineDto(await platform.power(machine, action, { timeoutMs, redo, signal, logger }));
      }),
    machineDoctor: ({ machine: name, takeOver }, options) =>
      context.run(options, (call) => examine(context, name, takeOver ?? false, call)),
    machineDelete: ({ machine: name }, options) =>
      context.run(options, async ({ signal, logger }) => {
        await context.recover(logger);
        const { platform, machine } = await findMachine(context, name, signal);
        await platform.delete(machine);
      }),
    machineScreenshot: ({ machine: name }, options) =>
      context.run(options, async ({ signal }) => {
        const { platform, machine } = await findMachine(context, name, signal);
        return platform.screenshot(machine);
      }),
    machineConsole: ({ machine: name, bytes }, options) =>
      context.run(options, async ({ signal }) => {
        const { platform, machine } = await findMachine(context, name, signal);
        return platform.consoleLog(machine, bytes);
      }),
  };
}

/** Without a repository only what is on the host is looked at. */
async function examine(
  context: Context,
  name: string,
  takeOver: boolean,
  { signal, logger }: Call,
): Promise<MachineDoctorResult> {
  await context.recover(logger);
  const { platform, machine } = await findMachine(context, name, signal);
  if (!platform.doctor) {
    throw new UserError(
      'unsupported',
      `machines of ${platform.kind} hosts need no doctor: each backup looks and mends by itself, and says so`,
    );
  }
  const repository = context.hasRepository ? await context.repository() : undefined;
  const points = (await repository?.points()) ?? [];
  const since = newest(points.filter((point) => point.machine.id === machine.id))?.checkpoint;
  const options = {
    takeOver,
    ...(repository ? { owner: repository.id } : {}),
    ...(since ? { since: since as Checkpoint } : {}),
  };
  return { machine: machine.name, findings: await platform.doctor(machine, options) };
}

async function exportKind(text: string | undefined): Promise<ExportKind | undefined> {
  const { exportKinds } = await import('@prima/engine');
  const kind = exportKinds.find((known) => known === text);
  if (kind !== undefined || text === undefined) return kind;
  throw new UserError(
    'usage',
    `"${text}" is not a kind of disk that is exported; write ${exportKinds.join(', ')}`,
  );
}

async function list(context: Context, host: string | undefined, call: Call): Promise<MachineDto[]> {
  const hosts = host === undefined ? await context.hosts.list() : [await context.hosts.get(host)];
  const machines: Machine[] = [];
  for (const entry of hosts) {
    machines.push(...(await (await context.platformOf(entry)).inventory(call.signal)));
  }
  return withPoints(context, machines, call);
}

/** Adds the time of each machine's newest point, where a repository is named; one that cannot be opened is said. */
async function withPoints(context: Context, machines: readonly Machine[], call: Call): Promise<MachineDto[]> {
  let points: Point[] = [];
  if (context.hasRepository && machines.length > 0) {
    try {
      points = await (await context.repository()).points();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      call.logger.warn(`the machines' restore points are not shown: ${why}`);
    }
  }
  const byMachine = Map.groupBy(points, (point) => point.machine.id);
  return machines.map((machine) => machineDto(machine, newest(byMachine.get(machine.id) ?? [])?.time));
}

/**
 * The machine that `HOST/NAME`, or a name or id that only one host has, names. Raises `not-found`, `ambiguous`.
 */
export async function findMachine(
  context: Context,
  text: string,
  signal: AbortSignal,
): Promise<{ platform: Platform; machine: Machine }> {
  const hosts = await context.hosts.list();
  const slash = text.indexOf('/');
  if (slash > 0) {
    const platform = await context.platform(text.slice(0, slash));
    return { platform, machine: await platform.find(text.slice(slash + 1), signal) };
  }
  const found: { platform: Platform; machine: Machine }[] = [];
  for (const host of hosts) {
    const platform = await context.platformOf(host);
    for (const machine of await platform.inventory(signal)) {
      if (machine.name === text || machine.id === text) found.push({ platform, machine });
    }
  }
  const [only, second] = found;
  if (only === undefined) {
    const where = hosts.length === 0 ? 'no host is registered (prima host add)' : 'on any host';
    throw new UserError('not-found', `no machine "${text}": ${where}`);
  }
  if (second !== undefined) {
    const names = found.map(({ machine }) => `${machine.host}/${machine.name}`).join(', ');
    throw new UserError('ambiguous', `several machines are called "${text}": ${names}; write HOST/MACHINE`);
  }
  return only;
}

function checkCreate({ name, memoryBytes, cpus }: MachineCreateRequest): void {
  if (name === '') throw new UserError('usage', 'the machine has no name');
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes <= 0) {
    throw new UserError('usage', `${memoryBytes} bytes of memory are not possible; write for example 512M`);
  }
  if (!Number.isSafeInteger(cpus) || cpus <= 0) {
    throw new UserError('usage', `${cpus} processors are not possible; give 1 or more`);
  }
}
