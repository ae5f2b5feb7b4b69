/** `prima disk rdm`: raw device mappings. */
import type { RdmDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import type { Page } from '../terminal/style.ts';
import { facts } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

const deviceHelp = 'a block device, or iscsi://HOST[:PORT]/TARGET/LUN';

export function registerDiskRdm(disk: Command, cli: Cli): void {
  const rdm = disk.command('rdm').description('raw device mappings: disks that stand for a device or a LUN');
  rdm
    .command('create')
    .description('make a disk that stands for a device; it is known again when its address changes')
    .argument('<file>', 'the new disk')
    .requiredOption('--device <device>', deviceHelp)
    .addOption(
      new Option(
        '--mode <mode>',
        'virtual: read as a disk; physical: the guest speaks to the device (virtual)',
      ).choices(['virtual', 'physical']),
    )
    .action(
      cli.action(
        {},
        async (invocation, file: string, { device, mode }: { device: string; mode?: string }) => {
          const request = { target: invocation.path(file), device, ...(mode !== undefined && { mode }) };
          const made = await invocation.call((api, call) => api.rdmCreate(request, call));
          invocation.result(made, (page) => rendered(made, page));
        },
      ),
    );
  rdm
    .command('query')
    .description('show which device a mapping stands for, and where it is now')
    .argument('<file>', 'the mapping')
    .action(
      cli.action({}, async (invocation, file: string) => {
        const found = await invocation.call((api, call) =>
          api.rdmQuery({ path: invocation.path(file) }, call),
        );
        invocation.result(found, (page) => rendered(found, page));
      }),
    );
  rdm
    .command('remap')
    .description('tell where the device of a mapping is now, as after a restore: refused for another device')
    .argument('<file>', 'the mapping')
    .requiredOption('--device <device>', deviceHelp)
    .option('--force', 'although nothing says that it is the same device')
    .action(
      cli.action(
        {},
        async (invocation, file: string, { device, force }: { device: string; force?: boolean }) => {
          const request = { path: invocation.path(file), device, ...(force && { force }) };
          const found = await invocation.call((api, call) => api.rdmRemap(request, call));
          invocation.result(found, (page) => rendered(found, page));
        },
      ),
    );
}

function rendered({ path, mode, size, device, identities, found, notes }: RdmDto, page: Page): string {
  const list = facts(
    [
      ['Mapping', path],
      ['Mode', mode],
      ['Size', formatBytes(size)],
      ['Device', device],
      ['Identity', identities.join(', ') || 'none: told by its address alone'],
      ['Is now', found ?? 'not found'],
    ],
    page,
  );
  return [list, ...notes.map((note) => printable(`  - ${note}`))].join('\n');
}
