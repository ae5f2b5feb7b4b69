/** `prima disk check`, `repair`, `extend`, `inflate`, `punch`, `rename`, `delete`. */
import { errorCodes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { collect, parseSize } from '../options.ts';
import {
  renderCheck,
  renderDelete,
  renderExtend,
  renderFill,
  renderRename,
  renderRepair,
} from '../render/disk-change.ts';
import { allowHelp, type FileOptions, formatHelp, named } from './disk-file-options.ts';

export function registerDiskChanges(disk: Command, cli: Cli): void {
  registerChecks(disk, cli);
  registerRoom(disk, cli);
  registerNames(disk, cli);
}

function onFile(disk: Command, name: string, description: string): Command {
  return disk
    .command(name)
    .description(description)
    .argument('<file>', 'a disk file')
    .option('--format <format>', formatHelp)
    .option('--allow-folder <folder>', allowHelp, collect);
}

const faults = errorCodes['verify-failed'].exit;

function registerChecks(disk: Command, cli: Cli): void {
  onFile(
    disk,
    'check',
    'check tables, headers and descriptors, not the data; 24 when it is not sound',
  ).action(
    cli.action({}, async (invocation, path: string, options: FileOptions) => {
      const result = await invocation.call((api, call) => api.diskCheck(named(path, options), call));
      invocation.result(result, (page) => renderCheck(result, page));
      if (!result.sound) invocation.exitStatus = faults;
    }),
  );
  onFile(disk, 'repair', 'repair what can be repaired without changing what the disk holds')
    .option('--yes', 'do it; without, only say what would be repaired')
    .action(
      cli.action({}, async (invocation, path: string, options: FileOptions & { yes?: boolean }) => {
        const apply = options.yes === true;
        const request = { ...named(path, options), ...(apply && { apply }) };
        const result = await invocation.call((api, call) => api.diskRepair(request, call));
        invocation.result(result, (page) => renderRepair(result, apply, page));
        if (!result.sound) invocation.exitStatus = faults;
      }),
    );
}

function registerRoom(disk: Command, cli: Cli): void {
  onFile(disk, 'extend', 'make a disk larger; what is new reads as zeros')
    .requiredOption('--size <size>', 'the new size of the whole disk: 20G', parseSize)
    .option('--eager-zero', 'fill the new room of a flat disk with zeros')
    .action(
      cli.action(
        {},
        async (invocation, path: string, options: FileOptions & { size: number; eagerZero?: boolean }) => {
          const { size, eagerZero } = options;
          const request = { ...named(path, options), size, ...(eagerZero && { eagerZero }) };
          const result = await invocation.call((api, call) => api.diskExtend(request, call));
          invocation.result(result, () => renderExtend(result));
        },
      ),
    );
  onFile(disk, 'inflate', 'take all the room that the disk may need, by writing zeros into its holes').action(
    cli.action({}, async (invocation, path: string, options: FileOptions) => {
      const result = await invocation.call((api, call) => api.diskInflate(named(path, options), call));
      invocation.result(result, () => renderFill(result));
    }),
  );
  onFile(disk, 'punch', 'give back the room of what is stored as zeros').action(
    cli.action({}, async (invocation, path: string, options: FileOptions) => {
      const result = await invocation.call((api, call) => api.diskPunch(named(path, options), call));
      invocation.result(result, () => renderFill(result));
    }),
  );
}

function registerNames(disk: Command, cli: Cli): void {
  onFile(disk, 'rename', 'give a disk another name: all its files, and what its children say of it')
    .argument('<target>', 'its new name, on the same file system')
    .action(
      cli.action({}, async (invocation, path: string, target: string, options: FileOptions) => {
        const request = { ...named(path, options), target };
        const result = await invocation.call((api, call) => api.diskRename(request, call));
        invocation.result(result, () => renderRename(result));
      }),
    );
  onFile(disk, 'delete', 'delete a disk: all files that are its own, and no other')
    .option('--yes', 'do it; without, only say what would be deleted')
    .action(
      cli.action({}, async (invocation, path: string, options: FileOptions & { yes?: boolean }) => {
        const request = { ...named(path, options), ...(options.yes && { apply: true }) };
        const result = await invocation.call((api, call) => api.diskDelete(request, call));
        invocation.result(result, () => renderDelete(result));
      }),
    );
}
