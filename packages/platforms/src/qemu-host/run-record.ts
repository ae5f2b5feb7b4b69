/** What a run was started with (`.run/launch.json`): saved memory fits only a machine started the same way. */
import { FormatError, PrimaError, replaceFile, runProgram } from '@prima/base';
import { accelerator, type Accelerator } from '@prima/qemu';
import type { RunChoices } from './command-line.ts';
import { readOptional } from './machine-folder.ts';

export interface RunRecord {
  version: 1;
  /** "7.2.22" */
  qemu: string;
  accelerator: 'kvm' | 'tcg';
  machineType: string;
  cpuModel: string;
  started: string;
  arguments: string[];
}

export async function writeRunRecord(path: string, record: RunRecord): Promise<void> {
  await replaceFile(path, `${JSON.stringify(record, null, 2)}\n`);
}

export async function readRunRecord(path: string): Promise<RunRecord | undefined> {
  const text = await readOptional(path);
  return text === undefined ? undefined : parseRunRecord(text, path);
}

function parseRunRecord(text: string, path: string): RunRecord {
  let value: Partial<RunRecord>;
  try {
    value = JSON.parse(text) as Partial<RunRecord>;
  } catch (error) {
    throw new FormatError(`${path} is not JSON`, { cause: error });
  }
  const { version, machineType, cpuModel } = value;
  const known = value.accelerator === 'kvm' || value.accelerator === 'tcg';
  if (version !== 1 || !known || typeof machineType !== 'string' || typeof cpuModel !== 'string') {
    throw new FormatError(`${path} does not say what a machine ran on (version 1)`);
  }
  return value as RunRecord;
}

/** What a machine runs on here; for saved memory, what it ran on when that was saved. */
export async function chooseRun(
  wanted: { machineType: string | undefined; saved: RunRecord | undefined },
  folder: string,
): Promise<Omit<RunChoices, 'chains'> & { reason: string }> {
  const here: Accelerator = await accelerator();
  const { saved } = wanted;
  if (saved && saved.accelerator !== here.kind) {
    throw new PrimaError(
      'unsupported',
      `the memory of the machine in ${folder} was saved under ${saved.accelerator} and cannot go on under ` +
        `${here.kind} (${here.reason}); resume it where ${saved.accelerator} works, or give the memory up (kill)`,
    );
  }
  const machineType = saved?.machineType ?? wanted.machineType ?? (await currentMachineType());
  return { accelerator: here.kind, machineType, reason: here.reason };
}

let machineTypeOnce: Promise<string> | undefined;

/** QEMU's newest versioned q35: `pc-q35-7.2`. A new QEMU then still gives an old machine its old hardware. */
export function currentMachineType(): Promise<string> {
  machineTypeOnce ??= askMachineType();
  return machineTypeOnce;
}

async function askMachineType(): Promise<string> {
  const { stdout } = await runProgram('qemu-system-x86_64', ['-machine', 'help']);
  const match = /^q35 .*\(alias of ([\w.-]+)\)/m.exec(stdout);
  return match?.[1] ?? 'q35';
}
