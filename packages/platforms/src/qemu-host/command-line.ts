/**
 * A machine's configuration → QEMU's command line. The same configuration always gives the same line: saved memory
 * fits only the machine that it was taken from.
 */
import { isAbsolute, relative } from 'node:path';
import { MiB, PrimaError } from '@prima/base';
import {
  type ImageFile,
  consoleLogArguments,
  guestAgentArguments,
  iscsiNode,
  jsonOption,
  monitorArguments,
  optionValue,
  plainArguments,
} from '@prima/qemu';
import type { MachineDisk } from '../platform.ts';
import type { ControllerKind, DiskConfig, MachineConfig } from './machine-config.ts';
import { runNames } from './machine-folder.ts';

/** The name of a slot's disk among QEMU's block nodes. */
export function nodeName(slot: string): string {
  return `disk-${slot.replace(':', '-')}`;
}

/** The name of a redo log among QEMU's block nodes. */
export function logNode(id: string): string {
  return `redo-${id}`;
}

/** The node that the guest's device writes to. */
export function topNode({ slot, logs }: Pick<MachineDisk, 'slot' | 'logs'>): string {
  const top = logs?.at(-1);
  return top ? logNode(top.id) : nodeName(slot);
}

/** Where a slot's device is in QEMU's object tree. */
export function devicePath(slot: string): string {
  return `/machine/peripheral/${deviceId(slot)}`;
}

const deviceId = (slot: string): string => `dev-${slot.replace(':', '-')}`;

/** A file of a disk; redo logs and the disk itself have names in QEMU, what these are based on has none. */
export interface NamedImage extends ImageFile {
  node?: string;
}

export interface RunChoices {
  accelerator: 'kvm' | 'tcg';
  machineType: string;
  /** The files of the disks, by slot; all of them, top first. */
  chains: ReadonlyMap<string, readonly NamedImage[]>;
  /** Waits for saved memory instead of starting. */
  incoming?: boolean;
}

/** Arguments for `qemu-system-x86_64`, which runs in `runFolder`. */
export function commandLine(config: MachineConfig, choices: RunChoices, runFolder: string): string[] {
  const { accelerator, machineType } = choices;
  return [
    ...options({
      name: optionValue(config.name),
      uuid: config.id,
      machine: machineType,
      accel: accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi',
      cpu: config.cpuModel,
      smp: String(config.cpus),
      m: `${config.memoryBytes / MiB}M`,
      sandbox: 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
      msg: 'timestamp=on',
      rtc: 'base=utc',
      boot: 'strict=on',
    }),
    ...plainArguments(),
    ...monitorArguments('qmp-control', runNames.control),
    ...monitorArguments('qmp-backup', runNames.backup),
    ...consoleLogArguments(runNames.serial),
    ...guestAgentArguments(runNames.agent),
    ...jsonOption('-device', { driver: 'VGA', id: 'screen' }),
    ...jsonOption('-device', { driver: 'virtio-rng-pci', id: 'random' }),
    ...controllers(config.disks),
    ...config.disks.flatMap((disk) => diskArguments(disk, choices.chains.get(disk.slot), runFolder)),
    ...nics(config),
    ...kernel(config),
    ...(choices.incoming ? options({ incoming: 'defer' }) : []),
  ];
}

/** `{ name: 'x' }` → `-name x`; what is undefined is left out. */
function options(named: Record<string, string | undefined>): string[] {
  return Object.entries(named).flatMap(([key, value]) => (value === undefined ? [] : [`-${key}`, value]));
}

/** QEMU's controllers by kind; those without one of their own are absent. */
const controllerDevices: Partial<Record<ControllerKind, string>> = {
  'virtio-scsi': 'virtio-scsi-pci',
  lsilogic: 'lsi53c895a',
  lsisas1068: 'mptsas1068',
  pvscsi: 'pvscsi',
  sata: 'ich9-ahci',
  ide: 'ich9-ahci',
};

function controllers(disks: readonly DiskConfig[]): string[] {
  const wanted = new Map<string, string>();
  for (const { bus, controller, kind } of disks) {
    const driver = kind && controllerDevices[kind];
    if (driver !== undefined) wanted.set(`${bus}${controller}`, driver);
  }
  return [...wanted].flatMap(([id, driver]) => jsonOption('-device', { driver, id }));
}

function diskArguments(
  disk: DiskConfig,
  chain: readonly NamedImage[] | undefined,
  runFolder: string,
): string[] {
  if (disk.kind === undefined || chain === undefined) {
    const why = disk.why ?? 'its files are not known';
    throw new PrimaError('unsupported', `the disk ${disk.path} (${disk.slot}) cannot be attached: ${why}`);
  }
  const common = { drive: chain[0]?.node ?? nodeName(disk.slot), id: deviceId(disk.slot) };
  return [
    ...jsonOption('-blockdev', imageNode(chain, runFolder)),
    ...jsonOption('-device', { ...deviceOptions(disk, disk.kind), ...common }),
  ];
}

/** An image and its backing files, each with its format: QEMU guesses nothing. */
function imageNode([image, ...backing]: readonly NamedImage[], runFolder: string): object {
  if (!image) throw new PrimaError('internal', 'an image has a file');
  const file = (path: string) => fileNode(runFolder, path, image.isBlockDevice);
  const data = image.dataFile === undefined ? {} : { 'data-file': file(image.dataFile) };
  const below = backing.length > 0 ? { backing: imageNode(backing, runFolder) } : {};
  const name = image.node === undefined ? {} : { 'node-name': image.node };
  const own = image.lun ? iscsiNode(image.lun) : file(image.path);
  return { ...name, driver: image.format, discard: 'unmap', file: own, ...data, ...below };
}

function fileNode(runFolder: string, path: string, isBlockDevice = false): object {
  return {
    driver: isBlockDevice ? 'host_device' : 'file',
    filename: fromRunFolder(runFolder, path),
    discard: 'unmap',
  };
}

/** A new redo log for `blockdev-add`; `blockdev-snapshot` puts it over a disk. */
export function logNodeOptions(id: string, path: string, runFolder: string): object {
  const file = fileNode(runFolder, path);
  return { 'node-name': logNode(id), driver: 'qcow2', discard: 'unmap', backing: null, file };
}

function deviceOptions({ bus, controller, unit }: DiskConfig, kind: ControllerKind): object {
  switch (kind) {
    case 'virtio-blk':
      return { driver: 'virtio-blk-pci' };
    case 'sata':
    case 'ide':
      return {
        driver: 'ide-hd',
        bus: `${bus}${controller}.${kind === 'sata' ? unit : (controller % 2) * 2 + unit}`,
      };
    default:
      return { driver: 'scsi-hd', bus: `${bus}${controller}.0`, channel: 0, 'scsi-id': unit, lun: 0 };
  }
}

/** Short, and right after the machine's folder was renamed; absolute for what lies elsewhere. */
function fromRunFolder(runFolder: string, path: string): string {
  const short = relative(runFolder, path);
  return isAbsolute(short) || short.startsWith('../..') ? path : short;
}

function nics({ nics: wanted }: MachineConfig): string[] {
  return wanted.flatMap(({ index, mac }) => {
    const id = `net${index}`;
    const device = { driver: 'virtio-net-pci', id: `nic${index}`, netdev: id, romfile: '' };
    return [
      ...jsonOption('-netdev', { type: 'user', id, restrict: true }),
      ...jsonOption('-device', mac === undefined ? device : { ...device, mac }),
    ];
  });
}

function kernel({ kernel: image, initrd, append }: MachineConfig): string[] {
  return image === undefined ? [] : options({ kernel: image, initrd, append });
}
