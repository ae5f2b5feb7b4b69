/** `prima machine create`: makes a machine on a host. */
import type { MachineCreateRequest } from '@prima/api';
import { UserError } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { parseCount, parseDiskCopy, parseNewDisk, parseSize } from '../options.ts';
import { machineDetails } from '../render/machine.ts';

interface CreateOptions {
  memory: number;
  cpus: number;
  kernel?: string;
  initrd?: string;
  append?: string;
  network?: 'none' | 'user';
}

const defaultMemoryBytes = 256 * 1024 * 1024;

export function registerMachineCreate(machine: Command, cli: Cli): void {
  // Both disk options fill one list: their order on the command line is the disks' order.
  const disks: MachineCreateRequest['disks'] = [];
  const adding = (parse: (text: string) => MachineCreateRequest['disks'][number]) => (text: string) => {
    disks.push(parse(text));
    return disks.length;
  };
  machine
    .command('create')
    .description('create a machine')
    .argument('<host/name>', 'the host, and the name of the new machine')
    .addOption(
      new Option('--memory <size>', 'memory').argParser(parseSize).default(defaultMemoryBytes, '256M'),
    )
    .option('--cpus <n>', 'virtual processors', parseCount, 1)
    .option(
      '--disk <size[:format]>',
      'a new disk, raw or qcow2; may be given several times',
      adding(parseNewDisk),
    )
    .option(
      '--disk-copy <path[:format]>',
      'a disk that is a copy of a file; may be given several times',
      adding(parseDiskCopy),
    )
    .option('--kernel <file>', 'boot this Linux kernel directly')
    .option('--initrd <file>', 'with --kernel: the initial RAM disk')
    .option('--append <text>', "with --kernel: the kernel's command line")
    .addOption(new Option('--network <kind>', 'network card').choices(['none', 'user']))
    .action(
      cli.action({}, async (invocation, name: string, options: CreateOptions) => {
        const request = requestOf(invocation, name, disks, options);
        const created = await invocation.call((api, call) => api.machineCreate(request, call));
        invocation.result(created, (page) => machineDetails(created, page));
      }),
    );
}

function requestOf(
  invocation: Invocation,
  name: string,
  disks: MachineCreateRequest['disks'],
  options: CreateOptions,
): MachineCreateRequest {
  const { memory, cpus, kernel, initrd, append, network } = options;
  const [, host, machine] = /^([^/]+)\/([^/]+)$/.exec(name) ?? [];
  if (host === undefined || machine === undefined) {
    throw new UserError('usage', `"${name}" does not name a machine to create; write HOST/NAME`);
  }
  if (kernel === undefined && (initrd !== undefined || append !== undefined)) {
    throw new UserError('usage', '--initrd and --append go with --kernel FILE');
  }
  return {
    host,
    name: machine,
    memoryBytes: memory,
    cpus,
    disks: disks.map((disk) =>
      disk.copyOf === undefined ? disk : { ...disk, copyOf: invocation.path(disk.copyOf) },
    ),
    ...(kernel !== undefined && { kernel: invocation.path(kernel) }),
    ...(initrd !== undefined && { initrd: invocation.path(initrd) }),
    ...(append !== undefined && { append }),
    ...(network && { network }),
  };
}
