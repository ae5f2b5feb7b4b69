/**
 * The demonstration: a real machine is backed up while it writes, destroyed, and brought back; the guest
 * itself says whether anything is lost. Everything goes through the operations that people use.
 */
import type { JobEvent, MachineDto, PointDto, PrimaApi } from '@prima/api';
import { formatBytes, MiB, PrimaError } from '@prima/base';
import type { TinyGuest } from '@prima/testbed';
import { type GuestState, guestState, guestVerify, waitForRecords } from './guest.ts';
import type { StepOutcome, Story } from './story.ts';

/** The names of the demonstration's host and machine. */
export const demoHost = 'demo';
const demoMachine = 'tiny';

export interface DemoWork {
  api: PrimaApi;
  guest: TinyGuest;
  /** A qcow2 disk with the guest's system. */
  rootDisk: string;
  story: Story;
  signal: AbortSignal;
  onEvent: (event: JobEvent) => void;
}

/** The three acts, each on what the one before left. */
export async function runDemo(work: DemoWork): Promise<void> {
  await createMachine(work);
  await hotAct(work);
  await warmAct(work);
  await coldAct(work);
}

const name = `${demoHost}/${demoMachine}`;

async function createMachine(work: DemoWork): Promise<void> {
  const { api, guest, rootDisk, story, signal } = work;
  await story.step('create a machine and start it', async () => {
    await api.machineCreate(
      {
        host: demoHost,
        name: demoMachine,
        memoryBytes: 192 * MiB,
        cpus: 1,
        disks: [{ format: 'qcow2', copyOf: rootDisk }],
        kernel: guest.kernel,
        initrd: guest.initrd,
        append: guest.kernelArguments({ write: true }),
      },
      { signal },
    );
    const machine = await api.machinePower({ machine: name, action: 'start' }, { signal });
    const { records } = await waitForRecords(machine, 1, signal);
    const how = machine.accelerator === 'kvm' ? 'KVM' : 'software emulation';
    return { detail: `runs with ${how}, writes records (${records} so far)` };
  });
}

async function hotAct(work: DemoWork): Promise<void> {
  const { story } = work;
  await waitMore(work, 20);
  await story.step('hot backup, the first', async () => backupStep(work, 'hot'));
  await waitMore(work, 20);
  const before = await state(work);
  const { point } = await story.step('hot backup, incremental', async () => backupStep(work, 'hot'));
  await story.step('destroy the machine', () => destroy(work));
  const machine = await restore(work, 'restore the last point and start', point);
  await story.step('the guest checks its records', () => verify(work, machine, before));
}

async function warmAct(work: DemoWork): Promise<void> {
  const { story, signal } = work;
  await waitMore(work, 5);
  const before = await state(work);
  const { point } = await story.step('warm backup, with memory', async () => backupStep(work, 'warm'));
  await story.step('destroy the machine again', () => destroy(work));
  const machine = await restore(work, 'restore with memory: it goes on', point);
  await story.step('the guest goes on where it was', async () => {
    const after = await guestState(machine, signal);
    const same = after.bootId === before.bootId;
    const onward = after.counter >= before.counter;
    const counted = `its counter went from ${before.counter} to ${after.counter}`;
    return { ok: same && onward, detail: `${same ? 'the same boot' : 'ANOTHER BOOT'}; ${counted}` };
  });
  await story.step('the guest checks its records again', () => verify(work, machine, before));
}

async function coldAct(work: DemoWork): Promise<void> {
  const { api, story, signal } = work;
  const before = await state(work);
  await story.step('shut the machine down', async () => {
    const { state: reached } = await api.machinePower({ machine: name, action: 'stop' }, { signal });
    return { ok: reached === 'off', detail: `it is ${reached}` };
  });
  const { point } = await story.step('cold backup', async () => backupStep(work, 'cold'));
  await story.step('delete the machine', () => destroy(work));
  const machine = await restore(work, 'restore and start once more', point);
  await story.step('the guest checks its records once more', () => verify(work, machine, before));
}

async function backupStep(
  { api, signal, onEvent }: DemoWork,
  mode: 'hot' | 'warm' | 'cold',
): Promise<StepOutcome & { point: PointDto }> {
  const { results } = await api.backup({ sources: [name], mode }, { signal, onEvent });
  const [result] = results;
  if (result?.point === undefined) {
    const { code, message } = result?.error ?? { code: 'internal', message: 'no result' };
    throw new PrimaError(code as PrimaError['code'], message);
  }
  const { point } = result;
  const facts = [
    point.quiesced ? 'guest quiesced' : undefined,
    point.frozenMs === undefined ? undefined : `frozen ${Math.round(point.frozenMs)} ms`,
    point.pausedMs === undefined ? undefined : `paused ${Math.round(point.pausedMs)} ms`,
    point.memory ? `${formatBytes(point.memory.size)} of memory` : undefined,
    whatWasRead(point),
    ...point.warnings,
  ];
  const detail = facts.filter((fact) => fact !== undefined).join(', ');
  return { point, read: point.read, stored: point.stored, detail, ok: point.warnings.length === 0 };
}

function whatWasRead({ disks }: PointDto): string {
  const [full] = disks.filter((disk) => disk.changed === 'all');
  if (full === undefined) return 'only what changed was read';
  return full.whyFull === undefined ? 'everything read' : `everything read: ${full.whyFull}`;
}

async function destroy({ api, signal }: DemoWork): Promise<StepOutcome> {
  const { state: found } = await api.machineShow({ machine: name }, { signal });
  if (found !== 'off') await api.machinePower({ machine: name, action: 'kill' }, { signal });
  await api.machineDelete({ machine: name }, { signal });
  const left = await api.machineList({ host: demoHost }, { signal });
  const how = found === 'off' ? 'its disks are deleted' : 'killed, its disks are deleted';
  return { ok: left.length === 0, detail: left.length === 0 ? how : 'it is STILL THERE' };
}

async function restore({ api, story, signal, onEvent }: DemoWork, step: string, point: PointDto) {
  const { machine } = await story.step(step, async () => {
    const result = await api.restoreToHost(
      { point: point.id, host: demoHost, start: true },
      { signal, onEvent },
    );
    if (result.machine === undefined) throw new PrimaError('internal', 'the restore named no machine');
    await guestState(result.machine, signal);
    const detail = `${formatBytes(result.bytesWritten)} written, its agent answers`;
    return { read: result.bytesRead, detail, machine: result.machine };
  });
  return machine;
}

/** Nothing that the guest had written before the backup began may be missing. */
async function verify({ signal }: DemoWork, machine: MachineDto, before: GuestState): Promise<StepOutcome> {
  const report = await guestVerify(machine, signal);
  const { bad, first, last } = report;
  const complete = first === 1 && last >= before.records;
  const facts = [
    `${report.records} records`,
    bad === 0 ? 'none bad' : `${bad} BAD`,
    complete ? 'none missing' : `MISSING some: has ${first} to ${last}, ${before.records} were there`,
  ];
  return { ok: bad === 0 && complete, detail: facts.join(', ') };
}

async function state({ api, signal }: DemoWork): Promise<GuestState> {
  return guestState(await api.machineShow({ machine: name }, { signal }), signal);
}

/** Lets the guest work on until it has written `more` records more. */
async function waitMore(work: DemoWork, more: number): Promise<void> {
  const { api, story, signal } = work;
  const machine = await api.machineShow({ machine: name }, { signal });
  const { records } = await guestState(machine, signal);
  story.say(`the machine works: ${records} records written, waiting for ${more} more`);
  await waitForRecords(machine, records + more, signal);
}
