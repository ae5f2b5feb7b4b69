/** `prima machine`: machines on the hosts. Creation is in machine-create.ts. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { MachineDto, RedoChoice } from '@prima/api';
import { createFile, formatBytes, PrimaError, toPrimaError } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { parseCount, parseDuration } from '../options.ts';
import { machineDetails, machineTable } from '../render/machine.ts';
import { printable } from '../terminal/width.ts';
import { registerMachineConfig } from './machine-config.ts';
import { registerMachineCreate } from './machine-create.ts';
import { registerMachineDoctor } from './machine-doctor.ts';
import { registerMachineExport } from './machine-export.ts';
import { registerMachineImport } from './machine-import.ts';
import { registerMachineResources } from './machine-resources.ts';
import { registerMachineRollback } from './machine-rollback.ts';

export function registerMachine(program: Command, cli: Cli): void {
  const machine = program.command('machine').description('list, create, run and look at machines');
  registerList(machine, cli);
  registerShow(machine, cli);
  registerMachineConfig(machine, cli);
  registerMachineCreate(machine, cli);
  registerMachineDoctor(machine, cli);
  registerMachineExport(machine, cli);
  registerMachineImport(machine, cli);
  registerMachineResources(machine, cli);
  registerMachineRollback(machine, cli);
  registerStart(machine, cli);
  registerStop(machine, cli);
  for (const [action, description] of [
    ['suspend', 'suspend a machine: it stands still, its memory stays'],
    ['resume', 'let a suspended machine go on'],
  ] as const) {
    machine
      .command(action)
      .description(description)
      .argument('<host/name>', 'the machine')
      .action(
        cli.action({}, async (invocation, name: string) => {
          const after = await invocation.call((api, call) =>
            api.machinePower({ machine: name, action }, call),
          );
          invocation.result(after, () => stateOf(after));
        }),
      );
  }
  registerDelete(machine, cli);
  registerScreenshot(machine, cli);
  registerConsole(machine, cli);
}

function stateOf({ host, name, state, accelerator }: MachineDto): string {
  const how = accelerator === undefined ? '' : ` (${accelerator})`;
  return printable(`${host}/${name} is ${state}${how}`);
}

function registerList(machine: Command, cli: Cli): void {
  machine
    .command('list')
    .description('list the machines')
    .argument('[host]', "only this host's")
    .action(
      cli.action({}, async (invocation, host: string | undefined) => {
        const request = host === undefined ? {} : { host };
        const machines = await invocation.call((api, call) => api.machineList(request, call));
        invocation.result(machines, (page) =>
          machines.length === 0 ? 'No machines.' : machineTable(machines, page),
        );
      }),
    );
}

function registerShow(machine: Command, cli: Cli): void {
  machine
    .command('show')
    .description('show everything about a machine')
    .argument('<host/name>', 'the machine')
    .action(
      cli.action({}, async (invocation, name: string) => {
        const found = await invocation.call((api, call) => api.machineShow({ machine: name }, call));
        invocation.result(found, (page) => machineDetails(found, page));
      }),
    );
}

function registerStart(machine: Command, cli: Cli): void {
  machine
    .command('start')
    .description('start a machine')
    .argument('<host/name>', 'the machine')
    .addOption(
      new Option('--redo <choice>', 'what becomes of the redo log of an undoable disk').choices([
        'commit',
        'discard',
        'append',
      ]),
    )
    .action(
      cli.action({}, async (invocation, name: string, { redo }: { redo?: RedoChoice }) => {
        const after = await invocation.call((api, call) =>
          api.machinePower({ machine: name, action: 'start', ...(redo && { redo }) }, call),
        );
        invocation.result(after, () => stateOf(after));
      }),
    );
}

function registerStop(machine: Command, cli: Cli): void {
  machine
    .command('stop')
    .description('stop a machine: the guest is asked, and switched off when it does not obey in time')
    .argument('<host/name>', 'the machine')
    .option('--hard', 'switch it off without asking the guest')
    .option('--timeout <time>', 'how long the guest may take: 90s, 10m', parseDuration)
    .addOption(
      new Option('--redo <choice>', 'what becomes of the redo log of an undoable disk (keep)').choices([
        'commit',
        'discard',
        'keep',
      ]),
    )
    .action(
      cli.action(
        {},
        async (
          invocation,
          name: string,
          options: { hard?: boolean; timeout?: number; redo?: RedoChoice },
        ) => {
          const request = {
            machine: name,
            action: options.hard ? ('kill' as const) : ('stop' as const),
            ...(options.timeout !== undefined && { timeoutMs: options.timeout }),
            ...(options.redo && { redo: options.redo }),
          };
          const after = await invocation.call((api, call) => api.machinePower(request, call));
          invocation.result(after, () => stateOf(after));
        },
      ),
    );
}

function registerDelete(machine: Command, cli: Cli): void {
  machine
    .command('delete')
    .description('delete a machine that is off, with its disks')
    .argument('<host/name>', 'the machine')
    .action(
      cli.action({}, async (invocation, name: string) => {
        await invocation.call((api, call) => api.machineDelete({ machine: name }, call));
        invocation.result({ deleted: name }, () => `Deleted ${printable(name)} with its disks`);
      }),
    );
}

function registerScreenshot(machine: Command, cli: Cli): void {
  machine
    .command('screenshot')
    .description("write a PNG of a machine's screen")
    .argument('<host/name>', 'the machine')
    .argument('<file>', 'the PNG file to write')
    .option('--force', 'overwrite the file')
    .action(
      cli.action({}, async (invocation, name: string, file: string, options: { force?: boolean }) => {
        const image = await invocation.call((api, call) => api.machineScreenshot({ machine: name }, call));
        await writeImage(resolve(file), image, options.force === true);
        invocation.result({ file: resolve(file), bytes: image.length }, () =>
          printable(`Wrote ${file} (${formatBytes(image.length)})`),
        );
      }),
    );
}

async function writeImage(path: string, image: Uint8Array, force: boolean): Promise<void> {
  try {
    if (force) await writeFile(path, image);
    else if (!(await createFile(path, image, 0o644))) {
      throw new PrimaError('exists', `${path} is there already; --force overwrites it`, {
        details: { path },
      });
    }
  } catch (error) {
    throw toPrimaError(error, `writing the screenshot ${path}`);
  }
}

function registerConsole(machine: Command, cli: Cli): void {
  machine
    .command('console')
    .description("print the end of a machine's console log")
    .argument('<host/name>', 'the machine')
    .option('--bytes <n>', 'how many bytes of it', parseCount)
    .action(
      cli.action({}, async (invocation, name: string, options: { bytes?: number }) => {
        const request = { machine: name, ...(options.bytes !== undefined && { bytes: options.bytes }) };
        const text = await invocation.call((api, call) => api.machineConsole(request, call));
        // A terminal would obey what a guest sends; a file or pipe gets the log as it is.
        const { isTTY } = invocation.environment.stdout;
        invocation.result({ console: text }, () => (isTTY ? readable(text) : text).replace(/\n$/, ''));
      }),
    );
}

function readable(text: string): string {
  return printable(stripVTControlCharacters(text).replaceAll('\r\n', '\n'), '\n\t');
}
