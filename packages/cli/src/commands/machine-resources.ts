/** `prima machine resources`: what a machine may use of its host. */
import type { MachineResourcesDto, ResourceSettingsDto, ResourcesSetResult } from '@prima/api';
import { formatBytes } from '@prima/base';
import { type Command, InvalidArgumentError } from 'commander';
import type { Cli } from '../cli.ts';
import { parseCount, parseSize, parseSizeOrNone } from '../options.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

type Disk = ResourceSettingsDto['disks'][number];

export function registerMachineResources(machine: Command, cli: Cli): void {
  const resources = machine
    .command('resources')
    .description('show what a machine may use: processors, memory, disks')
    .argument('<host/name>', 'the machine')
    .action(
      cli.action({}, async (invocation, name: string) => {
        const found = await invocation.call((api, call) => api.machineResources({ machine: name }, call));
        invocation.result(found, (page) => shown(found, page));
      }),
    );
  registerSet(resources, cli);
}

function registerSet(resources: Command, cli: Cli): void {
  resources
    .command('set')
    .description('set what is given, in the configuration and at once where that can be; the rest stays')
    .argument('<host/name>', 'the machine')
    .option('--vcpus <n>', 'processors that it has', parseCount)
    .option('--vcpus-max <n>', 'processors that it may have', parseCount)
    .option('--cpu-shares <n>', 'its weight where processors are short', parseCount)
    .option('--cpu-period <time>', 'microseconds over which the quota counts', parseCount)
    .option('--cpu-quota <time>', 'microseconds of a period that each processor may run, or none', parseQuota)
    .option('--memory <size>', 'memory that it has', parseSize)
    .option('--memory-max <size>', 'memory that it may have', parseSize)
    .option('--memory-hard-limit <size>', 'what QEMU may take in all, with its own needs', parseSize)
    .option('--memory-soft-limit <size>', 'what it is held to where memory is short', parseSize)
    .option('--blkio-weight <n>', 'its weight where disks are busy: 100 to 1000', parseCount)
    .option(
      '--disk <limit>',
      'DISK:LIMIT=SIZE, a second: vda:read-bytes=50M, vda:total-iops=500; 0: none; may be given several times',
      parseDiskLimit,
    )
    .action(
      cli.action(
        {},
        async (invocation, name: string, { disk: disks = [], ...given }: { disk?: Disk[] } & Numbers) => {
          const request = { machine: name, settings: { machine: named(given), disks } };
          const result = await invocation.call((api, call) => api.machineResourcesSet(request, call));
          invocation.result(result, () => setLines(result));
        },
      ),
    );
}

type Numbers = Record<string, number>;

/** `cpuShares` → `cpu-shares` */
function named(options: Numbers): Numbers {
  const entries = Object.entries(options);
  return Object.fromEntries(
    entries.map(([name, value]) => [name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`), value]),
  );
}

function parseQuota(text: string): number {
  return text === 'none' ? -1 : parseCount(text);
}

/** Limits of one disk come together, in the order in which the disks are named first. */
function parseDiskLimit(text: string, before: readonly Disk[] = []): Disk[] {
  const [, disk, name, value] = /^([^:=]+):([a-z-]+)=(.+)$/.exec(text) ?? [];
  if (disk === undefined || name === undefined || value === undefined) {
    throw new InvalidArgumentError('It must be DISK:LIMIT=SIZE, for example vda:read-bytes=50M.');
  }
  const limits = { ...before.find((known) => known.disk === disk)?.limits, [name]: parseSizeOrNone(value) };
  return before.some((known) => known.disk === disk)
    ? before.map((known) => (known.disk === disk ? { disk, limits } : known))
    : [...before, { disk, limits }];
}

interface Row {
  setting: string;
  live?: number | undefined;
  config?: number | undefined;
}

const columns = (isUp: boolean): readonly Column<Row>[] => [
  { title: 'SETTING', value: ({ setting }) => setting, importance: 9 },
  ...(isUp
    ? [
        {
          title: 'NOW',
          value: (row: Row) => amount(row.setting, row.live),
          align: 'right',
          importance: 8,
        } as const,
      ]
    : []),
  {
    title: isUp ? 'FROM THE NEXT START' : 'SET',
    value: (row) => amount(row.setting, row.config),
    align: 'right',
    importance: 7,
  },
];

function amount(setting: string, value: number | undefined): string {
  if (value === undefined || (setting === 'cpu-quota' && value < 0)) return '-';
  if (/memory/.test(setting)) return formatBytes(value);
  if (/bytes/.test(setting)) return `${formatBytes(value)}/s`;
  return /period|quota/.test(setting) ? `${value} µs` : String(value);
}

function shown({ machine, live, config, notes }: MachineResourcesDto, page: Page): string {
  const names = (get: (settings: ResourceSettingsDto) => Numbers) => [
    ...new Set([...Object.keys(get(config)), ...(live ? Object.keys(get(live)) : [])]),
  ];
  const rows: Row[] = names((settings) => settings.machine).map((setting) => ({
    setting,
    live: live?.machine[setting],
    config: config.machine[setting],
  }));
  const limitsOf = (settings: ResourceSettingsDto | undefined, disk: string) =>
    settings?.disks.find((one) => one.disk === disk)?.limits ?? {};
  for (const disk of new Set([...config.disks, ...(live?.disks ?? [])].map((one) => one.disk))) {
    for (const name of names((settings) => limitsOf(settings, disk))) {
      const [now, later] = [limitsOf(live, disk)[name], limitsOf(config, disk)[name]];
      rows.push({ setting: `${disk} ${name}`, live: now, config: later });
    }
  }
  return [
    printable(machine),
    table(columns(live !== undefined), rows, page),
    ...notes.map((note) => `- ${printable(note)}`),
  ].join('\n');
}

function setLines({ done }: ResourcesSetResult): string {
  return done
    .map(({ settings, config, live, why }) => {
      const where = live ? (config ? 'now and in the configuration' : 'now') : 'in the configuration';
      return printable(`${settings.join(', ')}: set ${where}${why === undefined ? '' : `; ${why}`}`);
    })
    .join('\n');
}
