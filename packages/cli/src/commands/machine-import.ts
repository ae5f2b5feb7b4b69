/** `prima machine import`: makes a machine of an OVA, an OVF envelope or a .vmx file. */
import { formatBytes, formatDuration } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { machineDetails } from '../render/machine.ts';
import { printable } from '../terminal/width.ts';

interface ImportOptions {
  name?: string;
  system?: string;
  start?: boolean;
}

export function registerMachineImport(machine: Command, cli: Cli): void {
  machine
    .command('import')
    .description('make a machine of a package; its manifest is verified before anything is made')
    .argument('<host>', 'the host')
    .argument('<file>', 'an OVA, an OVF envelope with its files beside it, or a .vmx with its disks')
    .option('--name <name>', "the machine's name (default: what the package says)")
    .option('--system <id>', 'of an envelope with several machines: which, by its ovf:id')
    .option('--start', 'start it')
    .action(
      cli.action({}, async (invocation, host: string, file: string, options: ImportOptions) => {
        const request = { host, path: invocation.path(file), ...options };
        const result = await invocation.call((api, call) => api.machineImport(request, call));
        invocation.result(result, (page) => {
          const { bytesRead, bytesWritten, elapsedMs } = result;
          const sizes = `read ${formatBytes(bytesRead)}, wrote ${formatBytes(bytesWritten)}`;
          return [
            ...result.notes.map((note) => `- ${printable(note)}`),
            machineDetails(result.machine, page),
            `\nImported in ${formatDuration(elapsedMs)}: ${sizes}`,
          ].join('\n');
        });
      }),
    );
}
