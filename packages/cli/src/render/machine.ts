/** How machines are shown. */
import type { MachineDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page, Paint } from '../terminal/style.ts';
import { type Column, facts, indent, table } from '../terminal/table.ts';
import { formatAge } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

function machineColumns(now: number): readonly Column<MachineDto>[] {
  return [
    { title: 'MACHINE', value: (machine) => `${machine.host}/${machine.name}`, importance: 9, minWidth: 12 },
    {
      title: 'STATE',
      value: (machine) => machine.state,
      paint: (paint, text, machine) => paintState(paint, text, machine.state),
      importance: 8,
      minWidth: 7,
    },
    { title: 'CPUS', value: (machine) => String(machine.cpus), align: 'right', importance: 3 },
    { title: 'MEMORY', value: (machine) => formatBytes(machine.memoryBytes), align: 'right', importance: 4 },
    { title: 'DISKS', value: diskSum, align: 'right', importance: 5 },
    { title: 'AGENT', value: (machine) => machine.agent, importance: 2 },
    {
      title: 'LAST POINT',
      value: (machine) => (machine.lastPoint === undefined ? '' : formatAge(machine.lastPoint, now)),
      importance: 7,
      minWidth: 10,
    },
    { title: 'ACCELERATOR', value: (machine) => machine.accelerator ?? '', importance: 1, minWidth: 3 },
  ];
}

function diskSum({ disks }: MachineDto): string {
  return formatBytes(disks.reduce((sum, disk) => sum + disk.size, 0));
}

function paintState(paint: Paint, text: string, state: string): string {
  return state === 'running' ? paint('green', text) : text;
}

export function machineTable(machines: readonly MachineDto[], page: Page): string {
  return table(machineColumns(page.now), machines, page);
}

type Disk = MachineDto['disks'][number];

const diskColumns: readonly Column<Disk>[] = [
  { title: 'NAME', value: (disk) => disk.name, importance: 9 },
  { title: 'SLOT', value: (disk) => disk.slot, importance: 5 },
  { title: 'FORMAT', value: (disk) => disk.format, importance: 4, minWidth: 5 },
  { title: 'SIZE', value: (disk) => formatBytes(disk.size), align: 'right', importance: 8 },
  { title: 'MODE', value: ({ mode }) => (mode === 'persistent' ? '' : (mode ?? '')), importance: 4 },
  {
    title: 'REDO LOGS',
    value: ({ logs }) => (logs === 0 ? '' : String(logs)),
    align: 'right',
    importance: 6,
  },
  { title: 'NOT BACKED UP', value: (disk) => disk.excluded ?? '', importance: 7, minWidth: 13 },
  { title: 'PATH', value: (disk) => disk.path, importance: 3, minWidth: 10 },
];

/** Everything about one machine. */
export function machineDetails(machine: MachineDto, page: Page): string {
  const disks = table(diskColumns, machine.disks, { ...page, width: page.width - 2 });
  const parts = [
    facts(
      [
        ['Machine', `${machine.host}/${machine.name}`],
        ['Id', machine.id],
        ['State', machine.state],
        ['Accelerator', machine.accelerator],
        ['CPUs', String(machine.cpus)],
        ['Memory', formatBytes(machine.memoryBytes)],
        ['Guest agent', machine.agent],
        ['Folder', machine.folder],
        ['Last point', machine.lastPoint === undefined ? undefined : formatAge(machine.lastPoint, page.now)],
      ],
      page,
    ),
    machine.disks.length > 0 ? `${page.paint('bold', 'Disks')}\n${indent(disks)}` : 'No disks',
    machine.notes.length > 0
      ? `${page.paint('bold', 'Notes')}\n${machine.notes.map((note) => `  - ${printable(note)}`).join('\n')}`
      : '',
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}
