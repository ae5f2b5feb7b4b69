/** `prima disk redo`: redo logs of machines, running or not, and of disk files. */
import type { RedoTarget } from '@prima/api';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseCount } from '../options.ts';
import { renderRedoList, renderRedoResult } from '../render/redo.ts';

const targetHelp = "HOST/MACHINE, a machine's folder or .vmx, or a disk file";

interface TargetOptions {
  disk?: string[];
  format?: string;
}

export function registerDiskRedo(disk: Command, cli: Cli): void {
  const redo = disk
    .command('redo')
    .description('redo logs: files over a disk that take its writes, to be merged or discarded');
  target(redo.command('list').description('show the redo logs of a machine or a disk')).action(
    cli.action({}, async (invocation, name: string, options: TargetOptions) => {
      const disks = await invocation.call((api, call) => api.redoList(request(name, options), call));
      invocation.result(disks, (page) => renderRedoList(disks, page));
    }),
  );
  target(redo.command('add').description('from now on a new log takes the writes; all disks at one moment'))
    .option('--no-quiesce', "do not freeze the guest's file systems for the moment")
    .action(
      cli.action({}, async (invocation, name: string, options: TargetOptions & { quiesce: boolean }) => {
        const wanted = { ...request(name, options), quiesce: options.quiesce };
        const result = await invocation.call((api, call) => api.redoAdd(wanted, call));
        invocation.result(result, () => renderRedoResult(result, 'writes go to'));
      }),
    );
  target(redo.command('commit').description('merge a log into what is beneath it; a running machine goes on'))
    .option('--level <n>', '0: the log that takes the writes, 1: the one beneath it … (0)', parseLevel)
    .option('--freeze', 'pause the machine for all of it, not only for its end')
    .action(
      cli.action(
        {},
        async (invocation, name: string, options: TargetOptions & { level?: number; freeze?: boolean }) => {
          const { level, freeze } = options;
          const wanted = {
            ...request(name, options),
            ...(level !== undefined && { level }),
            ...(freeze && { freeze }),
          };
          const result = await invocation.call((api, call) => api.redoCommit(wanted, call));
          invocation.result(result, () => renderRedoResult(result, 'merged'));
        },
      ),
    );
  target(redo.command('discard').description('give up what was written since the newest log was added'))
    .option('--yes', 'that is meant: nothing is discarded without it')
    .action(
      cli.action({}, async (invocation, name: string, options: TargetOptions & { yes?: boolean }) => {
        if (!options.yes) {
          throw new UserError(
            'usage',
            `what was written to ${name} since its newest redo log was added would be lost; say --yes to discard it`,
          );
        }
        const result = await invocation.call((api, call) => api.redoDiscard(request(name, options), call));
        invocation.result(result, () => renderRedoResult(result, 'discarded'));
      }),
    );
}

function target(command: Command): Command {
  return command
    .argument('<target>', targetHelp)
    .option(
      '--disk <name>',
      'only this disk of the machine (disk0, scsi0:0); may be given several times',
      collect,
    )
    .option('--format <format>', "a disk file's format, where name and content do not tell it");
}

function request(name: string, { disk, format }: TargetOptions): RedoTarget {
  return { target: name, ...(disk && { disks: disk }), ...(format !== undefined && { format }) };
}

function parseLevel(text: string): number {
  return text === '0' ? 0 : parseCount(text);
}
