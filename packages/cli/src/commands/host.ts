/** `prima host`: the hosts whose machines Prima looks after. */
import type { HostDto, HostTestResult } from '@prima/api';
import { errorCodes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';
import { registerHostConfiguration } from './host-configuration.ts';

export function registerHost(program: Command, cli: Cli): void {
  const host = program
    .command('host')
    .description('list, add, test and remove hosts; back up what is defined on them');
  host
    .command('list')
    .description('list the hosts')
    .action(
      cli.action({}, async (invocation) => {
        const hosts = await invocation.call((api, call) => api.hostList(call));
        invocation.result(hosts, (page) => (hosts.length === 0 ? 'No hosts.' : table(columns, hosts, page)));
      }),
    );
  host
    .command('add')
    .description('add a host: a folder of machines that run under QEMU on this computer, or a libvirt daemon')
    .argument('<name>', 'what to call it')
    .argument(
      '<location>',
      'a folder that holds a folder for each machine; or qemu:///system, qemu+ssh://USER@HOST/system …',
    )
    .action(
      cli.action({}, async (invocation, name: string, location: string) => {
        const isLibvirt = /^[a-z]+(\+[a-z]+)?:\/\//i.test(location);
        const request: HostDto = isLibvirt
          ? { name, platform: 'libvirt', location }
          : { name, platform: 'qemu', location: invocation.path(location) };
        const added = await invocation.call((api, call) => api.hostAdd(request, call));
        invocation.result(added, () => `Added host ${printable(added.name)}: ${printable(added.location)}`);
      }),
    );
  host
    .command('test')
    .description('test that a host can be worked with')
    .argument('<name>', 'the host')
    .action(
      cli.action({}, async (invocation, name: string) => {
        const result = await invocation.call((api, call) => api.hostTest({ name }, call));
        invocation.result(result, (page) => rendered(result, page));
        if (!result.ok) invocation.exitStatus = errorCodes['verify-failed'].exit;
      }),
    );
  host
    .command('remove')
    .description('forget a host; its machines stay as they are')
    .argument('<name>', 'the host')
    .action(
      cli.action({}, async (invocation, name: string) => {
        await invocation.call((api, call) => api.hostRemove({ name }, call));
        invocation.result(
          { removed: name },
          () => `Removed host ${printable(name)}; its machines stay as they are`,
        );
      }),
    );
  registerHostConfiguration(host, cli);
}

const columns: readonly Column<HostDto>[] = [
  { title: 'HOST', value: (host) => host.name, importance: 9 },
  { title: 'PLATFORM', value: (host) => host.platform, importance: 3, minWidth: 4 },
  { title: 'LOCATION', value: (host) => host.location, importance: 5 },
  { title: 'WORKER', value: (host) => host.worker ?? '', importance: 4 },
];

const checkColumns: readonly Column<HostTestResult['checks'][number]>[] = [
  {
    title: 'RESULT',
    value: (check) => (check.ok ? 'ok' : 'fault'),
    paint: (paint, text, check) => paint(check.ok ? 'green' : 'red', text),
    importance: 9,
  },
  { title: 'CHECK', value: (check) => check.name, importance: 8 },
  { title: 'DETAIL', value: (check) => check.detail, importance: 5 },
];

function rendered({ host, ok, checks }: HostTestResult, page: Page): string {
  return `${table(checkColumns, checks, page)}\nHost ${printable(host.name)} is ${ok ? 'fine' : 'not in order'}`;
}
