/** `prima machine config show`: a machine's configuration as another kind of host would have it. */
import type { MachineConfigurationDto, MachineConfigurationRequest } from '@prima/api';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { printable } from '../terminal/width.ts';

export function registerMachineConfig(machine: Command, cli: Cli): void {
  const config = machine.command('config').description("machines' configurations");
  config
    .command('show')
    .description('show a configuration in the dialect of any kind of host, and what that cannot say')
    .argument(
      '<source>',
      'HOST/MACHINE, a file (.vmx, OVF, OVA, libvirt XML, QEMU arguments), a folder or a POINT',
    )
    .addOption(
      new Option('--as <dialect>', 'json: as Prima understands it')
        .choices(['json', 'vmx', 'ovf', 'libvirt', 'qemu'])
        .default('json'),
    )
    .option('--system <id>', 'of an OVF envelope with several machines: which, by its ovf:id')
    .action(
      cli.action(
        {},
        async (
          invocation,
          source: string,
          { as, system }: Pick<MachineConfigurationRequest, 'as' | 'system'>,
        ) => {
          const request = { source, ...(as && { as }), ...(system !== undefined && { system }) };
          const found = await invocation.call((api, call) => api.machineConfiguration(request, call));
          invocation.result(found, () => textOf(found, invocation));
          sayLosses(found, invocation);
        },
      ),
    );
}

/** As it is, so that it can be written to a file; on a terminal without what would command that. */
function textOf({ text }: MachineConfigurationDto, { environment }: Invocation): string {
  const shown = environment.stdout.isTTY ? printable(text, '\n\t') : text;
  return shown.replace(/\r?\n$/, '');
}

/** On standard error: the text alone goes where standard output goes. */
function sayLosses({ notCarried, dialect, as }: MachineConfigurationDto, invocation: Invocation): void {
  if (invocation.json || notCarried.length === 0) return;
  const { stderr } = invocation.environment;
  stderr.write(`\nNot carried over from ${dialect} to ${as}:\n`);
  for (const { where, what, why } of notCarried) {
    stderr.write(printable(`  ${where}: ${what} (${why})`) + '\n');
  }
}
