/** `prima machine doctor`: what stands in the way of a machine's next backup. */
import type { MachineDoctorResult } from '@prima/api';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { count } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { printable } from '../terminal/width.ts';

export function registerMachineDoctor(machine: Command, cli: Cli): void {
  machine
    .command('doctor')
    .description('find out what stands in the way of the next backup, and mend what can be')
    .argument('<host/name>', 'the machine')
    .option('--take-over', 'undo also what another computer began that cannot be asked, and thaw the guest')
    .action(
      cli.action({}, async (invocation, name: string, { takeOver }: { takeOver?: boolean }) => {
        const request = { machine: name, ...(takeOver && { takeOver }) };
        const result = await invocation.call((api, call) => api.machineDoctor(request, call));
        invocation.result(result, (page) => rendered(result, page));
      }),
    );
}

/** Sentences, not a table: they are to be read whole. */
function rendered({ machine, findings }: MachineDoctorResult, page: Page): string {
  if (findings.length === 0) return `${printable(machine)}: nothing to say`;
  const mended = findings.filter(({ done }) => done !== undefined).length;
  return [
    ...findings.flatMap(({ subject, found, done }) => [
      `${page.paint('bold', printable(subject))}: ${printable(found)}`,
      ...(done === undefined ? [] : [`  ${page.paint('green', printable(done))}`]),
    ]),
    `${printable(machine)}: ${count(findings.length, 'finding')}, ${mended} mended`,
  ].join('\n');
}
