/** Whether machines run on the processor itself (KVM) or by software emulation (TCG), and why. */
import { open, readFile } from 'node:fs/promises';
import { runProgram, systemErrorCode, toPrimaError } from '@prima/base';

export interface Accelerator {
  kind: 'kvm' | 'tcg';
  /** A phrase for the log: "KVM works", "/dev/kvm is missing". */
  reason: string;
}

export interface AcceleratorOptions {
  /** Default /dev/kvm. */
  device?: string;
  /** Default /proc/cpuinfo. */
  processors?: string;
  /** Default qemu-system-x86_64. */
  program?: string;
  signal?: AbortSignal;
}

const trialInput = '{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n';
const trialArguments = '-machine q35 -accel kvm -cpu host -nodefaults -display none -S -qmp stdio'.split(' ');

/**
 * `kvm` when the device opens for reading and writing, the processor has virtualisation, and QEMU starts on the device (tried
 * once with a machine that never runs, under 1 s), otherwise `tcg`. Raises only `cancelled`.
 */
export async function accelerator(options: AcceleratorOptions = {}): Promise<Accelerator> {
  const {
    device = '/dev/kvm',
    processors = '/proc/cpuinfo',
    program = 'qemu-system-x86_64',
    signal,
  } = options;
  const obstacle = (await cannotOpen(device)) ?? (await lacksVirtualisation(processors, device));
  if (obstacle !== undefined) return { kind: 'tcg', reason: obstacle };
  try {
    await runProgram(program, trialArguments, { input: trialInput, timeoutMs: 20_000, signal });
    return { kind: 'kvm', reason: 'KVM works' };
  } catch (error) {
    const failure = toPrimaError(error, 'trying KVM');
    if (failure.code === 'cancelled') throw failure;
    const [why = ''] = failure.message.split('\n');
    return { kind: 'tcg', reason: `${device} opens, but QEMU does not start on it: ${why}` };
  }
}

/**
 * A kernel may offer KVM without the processor's help (PVM, for guests within guests): QEMU starts on it, and its firmware runs, but
 * ordinary guests hang. The flags are those of cpuid: `vmx` of Intel, `svm` of AMD.
 */
async function lacksVirtualisation(path: string, device: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => ''); // where there is none, the trial alone decides
  const [, flags] = /^flags\s*:(.*)$/m.exec(text) ?? [];
  if (flags === undefined || /\b(vmx|svm)\b/.test(flags)) return undefined;
  return `${device} opens, but the processor has no virtualisation (neither vmx nor svm), without which guests do not boot on it`;
}

async function cannotOpen(device: string): Promise<string | undefined> {
  try {
    const handle = await open(device, 'r+');
    await handle.close();
    return undefined;
  } catch (error) {
    const code = systemErrorCode(error) ?? String(error);
    if (code === 'ENOENT') return `${device} is missing`;
    if (code === 'EACCES' || code === 'EPERM') return `${device} may not be opened by this user (${code})`;
    return `${device} does not open (${code})`;
  }
}
