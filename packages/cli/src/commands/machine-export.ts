/** `prima machine export`: machines as folders of their own, with their disks as VMDKs; taken back by `machine import`. */
import type { MachineExportRequest, MachineExportResult } from '@prima/api';
import { formatBytes, formatDuration, toPrimaError, UserError } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { printable } from '../terminal/width.ts';

interface ExportOptions {
  to: string;
  running?: boolean;
  kind?: string;
  method?: 'redo' | 'filter';
  force?: boolean;
}

export function registerMachineExport(machine: Command, cli: Cli): void {
  machine
    .command('export')
    .description('export machines to folders: configuration, disks as VMDKs, a manifest; running ones go on')
    .argument('[machine...]', "HOST/MACHINE, or a machine's folder or .vmx")
    .requiredOption('--to <folder>', 'each machine gets a folder of its name in it')
    .option('--running', 'all machines that run, on all hosts')
    .addOption(
      new Option('--kind <kind>', 'of the disks (twoGbMaxExtentSparse)').choices([
        'twoGbMaxExtentSparse',
        'monolithicSparse',
        'monolithicFlat',
        'streamOptimized',
      ]),
    )
    .addOption(
      new Option('--method <method>', "how a running machine's disks are held still (redo)").choices([
        'redo',
        'filter',
      ]),
    )
    .option('--force', 'replace exports that are there; each stays until the new one is whole')
    .action(
      cli.action({}, async (invocation, names: string[], options: ExportOptions) => {
        const machines = await chosen(invocation, names, options);
        const { kind, method, force } = options;
        const shared = {
          folder: invocation.path(options.to),
          ...(kind && { kind }),
          ...(method && { method }),
          ...(force && { force }),
        };
        const results = await exportAll(invocation, machines, shared);
        invocation.result(results, () => results.map(rendered).join('\n'));
      }),
    );
}

async function chosen(
  invocation: Invocation,
  names: string[],
  { running }: ExportOptions,
): Promise<string[]> {
  if (running === true && names.length > 0)
    throw new UserError('usage', 'name machines, or say --running, not both');
  if (!running) {
    if (names.length === 0) throw new UserError('usage', 'name a machine, or say --running');
    return names;
  }
  const machines = await invocation.call((api, call) => api.machineList({}, call));
  const found = machines
    .filter(({ state }) => state === 'running')
    .map(({ host, name }) => `${host}/${name}`);
  if (found.length === 0) throw new UserError('not-found', 'no machine is running on any host');
  return found;
}

interface Failed {
  machine: string;
  error: { code: string; message: string };
}

/** One after the other; one that fails does not keep the others from it, but shows in the exit status. */
async function exportAll(
  invocation: Invocation,
  machines: readonly string[],
  shared: Omit<MachineExportRequest, 'machine'>,
): Promise<(MachineExportResult | Failed)[]> {
  const results: (MachineExportResult | Failed)[] = [];
  for (const machine of machines) {
    try {
      results.push(await invocation.call((api, call) => api.machineExport({ machine, ...shared }, call)));
    } catch (error) {
      const { code, message, exitStatus } = toPrimaError(error, `exporting ${machine}`);
      if (machines.length === 1 || code === 'cancelled') throw error;
      results.push({ machine, error: { code, message } });
      invocation.exitStatus = exitStatus;
    }
  }
  return results;
}

function rendered(result: MachineExportResult | Failed): string {
  if ('error' in result) return printable(`${result.machine}: NOT exported: ${result.error.message}`);
  const { machine, folder, mode, quiesced, notes, disks, skipped, bytesWritten, elapsedMs } = result;
  const how = `${mode}${quiesced ? ', quiesced' : ''}`;
  const count = disks.length === 1 ? '1 disk' : `${disks.length} disks`;
  return [
    printable(
      `${machine}: ${folder} (${how}; ${count}, ${formatBytes(bytesWritten)}, in ${formatDuration(elapsedMs)})`,
    ),
    ...skipped.map(({ name, why }) => printable(`  ${name} is not in it: ${why}`)),
    ...notes.map((note) => printable(`  - ${note}`)),
  ].join('\n');
}
