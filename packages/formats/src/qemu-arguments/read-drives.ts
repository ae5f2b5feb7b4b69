/** The disks and CD-ROMs of QEMU's arguments: block nodes, and the devices that they are behind. */
import {
  type Cdrom,
  type Disk,
  type DriveSource,
  type MachineDescription,
  type ScsiController,
  type Slot,
  slotName,
} from '../machine/description.ts';
import { defined } from '../machine/translation.ts';
import { nameOf } from '../libvirt/domain-names.ts';
import type { QemuArguments } from './arguments.ts';
import type { QemuOption } from './option.ts';
import { type Bootable, driverSpellings, hasIde, scsiDrivers } from './qemu-names.ts';

type Drives = Pick<MachineDescription, 'scsiControllers' | 'disks' | 'cdroms'>;

interface Image {
  source?: DriveSource;
  format?: string;
  readOnly: boolean;
  isTemporary: boolean;
  isCdrom: boolean;
  serial?: string;
}

const driveDevices: Readonly<Record<string, 'disk' | 'cdrom'>> = {
  'virtio-blk-pci': 'disk',
  'scsi-hd': 'disk',
  'scsi-cd': 'cdrom',
  'ide-hd': 'disk',
  'ide-cd': 'cdrom',
  nvme: 'disk',
  'usb-storage': 'disk',
};

export class QemuDrives {
  readonly #options: QemuArguments;
  readonly #hasIde: boolean;
  readonly #images = new Map<string, Image>();
  readonly #drives: Drives = { scsiControllers: [], disks: [], cdroms: [] };
  readonly #taken = new Set<string>();
  /** Which number each controller's id has, by bus. */
  readonly #controllers = new Map<string, number>();

  constructor(options: QemuArguments, machineType: string | undefined) {
    this.#options = options;
    this.#hasIde = hasIde(machineType);
  }

  /** The files of flash chips, by unit. */
  flash(): string[] {
    const machine = this.#options.last('machine');
    const nodes = ['pflash0', 'pflash1'].flatMap((key) => machine?.get(key) ?? []);
    const named = nodes.flatMap((node) => this.#node(node)?.source?.location ?? []);
    const drives = this.#options
      .all('drive')
      .filter((drive) => drive.is('if', 'pflash'))
      .map((drive, at) => ({ unit: drive.below('unit', 100) ?? at, image: this.#imageOf(drive) }));
    for (const drive of this.#options.all('drive'))
      if (drive.is('if', 'pflash')) drive.settle('if', 'format');
    drives.sort((a, b) => a.unit - b.unit);
    return [...named, ...drives.flatMap(({ image }) => image.source?.location ?? [])];
  }

  read(): Drives {
    this.#readControllers();
    for (const drive of this.#options.all('drive')) {
      const id = drive.get('id');
      if (id !== undefined) this.#images.set(id, this.#imageOf(drive));
    }
    for (const device of this.#options.all('device')) this.#readDevice(device);
    this.#readShort();
    this.#drives.scsiControllers.sort((a, b) => a.index - b.index);
    return this.#drives;
  }

  #readControllers(): void {
    const counts = new Map<string, number>();
    for (const device of this.#options.all('device')) {
      const driver = driverOf(device);
      const model = nameOf(scsiDrivers, driver);
      const bus = model
        ? 'scsi'
        : driver === 'ich9-ahci'
          ? 'sata'
          : driver === 'qemu-xhci'
            ? 'usb'
            : undefined;
      if (!bus) continue;
      device.settle('driver', 'addr', 'bus');
      const id = device.get('id') ?? '';
      const taken = [...this.#controllers]
        .filter(([key]) => key.startsWith(`${bus} `))
        .map(([, index]) => index);
      const said = new RegExp(`^${bus}(\\d{1,2})$`).exec(id)?.[1];
      let index = said === undefined ? (counts.get(bus) ?? 0) : Number(said);
      while (taken.includes(index)) index += 1;
      counts.set(bus, index + 1);
      this.#controllers.set(`${bus} ${id}`, index);
      if (model) this.#drives.scsiControllers.push({ index, model } satisfies ScsiController);
    }
  }

  #readDevice(device: QemuOption): void {
    const kind = driveDevices[driverOf(device)];
    if (!kind) return;
    device.settle('driver', 'addr', 'id', 'removable');
    const name = device.get('drive');
    const image = name === undefined ? undefined : (this.#images.get(name) ?? this.#node(name));
    if (name !== undefined && !image) device.unreadKey('drive');
    const slot = this.#slotOf(device);
    this.#taken.add(slotName(slot));
    const serial = device.get('serial');
    const bootIndex = device.below('bootindex', 2 ** 31);
    this.#add(
      slot,
      { readOnly: false, isTemporary: false, ...image, serial, isCdrom: kind === 'cdrom' },
      bootIndex,
    );
  }

  #add(slot: Slot, image: Image, bootIndex?: number): void {
    const { source, format, readOnly, isTemporary, serial } = image;
    const boot: Bootable = { bootIndex };
    if (image.isCdrom) this.#drives.cdroms.push(defined<Cdrom>({ slot, source, ...boot }));
    else {
      this.#drives.disks.push(
        defined<Disk>({
          slot,
          source,
          format,
          mode: isTemporary ? 'nonpersistent' : undefined,
          readOnly: readOnly ? true : undefined,
          serial,
          ...boot,
        }),
      );
    }
  }

  #slotOf(device: QemuOption): Slot {
    const driver = driverOf(device);
    const [id = '', bus = ''] = [device.get('id'), device.get('bus')];
    const [, parent = '', port = ''] = /^(.*?)(?:\.(\d{1,3}))?$/.exec(bus) ?? [];
    const unit = device.below('unit', 65_536);
    if (driver === 'virtio-blk-pci') {
      return this.#free('virtio', /^virtio-disk(\d{1,3})$/.exec(id)?.[1]);
    }
    if (driver === 'nvme') {
      return {
        bus: 'nvme',
        controller: this.#free('nvme', /^nvme(\d{1,2})$/.exec(id)?.[1], 'controller').controller,
        unit: 0,
      };
    }
    if (driver === 'usb-storage') {
      const at = device.below('port', 256);
      return at === undefined ? this.#free('usb') : { bus: 'usb', controller: 0, unit: Math.max(0, at - 1) };
    }
    if (driver.startsWith('scsi-')) {
      const controller = this.#controllers.get(`scsi ${parent}`) ?? 0;
      device.settle('channel');
      const [target, lun] = [device.below('scsi-id', 65_536), device.below('lun', 65_536)];
      if (target === undefined && lun === undefined) return this.#free('scsi', undefined, 'unit', controller);
      return { bus: 'scsi', controller, unit: target === undefined || target === 0 ? (lun ?? 0) : target };
    }
    const sata = this.#controllers.get(`sata ${parent}`);
    const number = Number(port || 0);
    if (sata !== undefined) return { bus: 'sata', controller: sata, unit: number };
    if (!this.#hasIde) return port === '' ? this.#free('sata') : { bus: 'sata', controller: 0, unit: number };
    return port === '' ? this.#free('ide') : { bus: 'ide', controller: number, unit: unit ?? 0 };
  }

  /** The number said, or the first place that is free. */
  #free(bus: Slot['bus'], said?: string, member: 'unit' | 'controller' = 'unit', controller = 0): Slot {
    const units = bus === 'ide' ? 2 : 4096;
    for (let at = said === undefined ? 0 : Number(said); ; at += 1) {
      const slot =
        member === 'controller'
          ? { bus, controller: at, unit: 0 }
          : { bus, controller: controller + Math.floor(at / units), unit: at % units };
      if (!this.#taken.has(slotName(slot))) return slot;
    }
  }

  /** `-hda`, `-cdrom`, `-drive` with an interface: disk and device in one. */
  #readShort(): void {
    for (const [name, index] of Object.entries({ hda: 0, hdb: 1, hdc: 2, cdrom: 2, hdd: 3 })) {
      for (const option of this.#options.all(name)) {
        option.settle();
        const source = sourceOf(option.text ?? '');
        const isCdrom = name === 'cdrom';
        this.#addShort('ide', index, { source, readOnly: false, isTemporary: false, isCdrom });
      }
    }
    for (const drive of this.#options.all('drive')) {
      const type = drive.get('if') ?? 'ide';
      const image = this.#imageOf(drive);
      if (type === 'none' || type === 'pflash') continue;
      if (type !== 'ide' && type !== 'virtio' && type !== 'scsi') drive.unread();
      else this.#addShort(type, drive.below('index', 4096), image);
    }
  }

  #addShort(type: 'ide' | 'virtio' | 'scsi', index: number | undefined, image: Image): void {
    const bus = type === 'ide' && !this.#hasIde ? 'sata' : type;
    const slot = this.#free(bus, index === undefined ? undefined : String(index));
    this.#taken.add(slotName(slot));
    this.#add(slot, image);
  }

  #imageOf(drive: QemuOption): Image {
    drive.settle('id', 'if', 'index', 'unit', 'bus');
    const file = drive.get('file') ?? drive.get('file.filename');
    const protocol = drive.get('file.driver');
    const media = drive.get('media');
    if (media !== undefined && media !== 'cdrom' && media !== 'disk') drive.unreadKey('media');
    return defined<Image>({
      source: file === undefined || file === '' ? undefined : sourceOf(file, protocol),
      format: drive.get('format') ?? drive.get('driver'),
      readOnly: drive.isOn('readonly') || drive.isOn('read-only'),
      isTemporary: drive.isOn('snapshot'),
      isCdrom: media === 'cdrom',
      serial: drive.get('serial'),
    });
  }

  /** A node of `-blockdev`, and the file under it. */
  #node(name: string, depth = 0): Image | undefined {
    const node = this.#options.all('blockdev').find((option) => option.is('node-name', name));
    if (!node || depth > 16) return undefined;
    node.settle('node-name', 'driver');
    const driver = node.get('driver') ?? 'raw';
    const readOnly = node.isOn('read-only');
    const below = node.get('file');
    const isProtocol = below === undefined && node.get('file.driver') === undefined;
    if (isProtocol) {
      const location = node.get('filename');
      const source = location === undefined ? undefined : sourceOf(location, driver);
      if (!source) node.unread();
      return defined({ source, format: 'raw', readOnly, isTemporary: false, isCdrom: false });
    }
    const inner = below === undefined ? undefined : this.#node(below, depth + 1);
    const location = node.get('file.filename');
    const source =
      inner?.source ?? (location === undefined ? undefined : sourceOf(location, node.get('file.driver')));
    if (!source) node.unread();
    return defined({ source, format: driver, readOnly, isTemporary: false, isCdrom: false });
  }
}

function driverOf(device: QemuOption): string {
  const said = Object.keys({ ...driverSpellings, ...driveDevices }).find((name) => device.is('driver', name));
  if (said !== undefined) return driverSpellings[said] ?? said;
  return (
    Object.values({ ...scsiDrivers, xhci: 'qemu-xhci', sata: 'ich9-ahci' }).find((name) =>
      device.is('driver', name),
    ) ?? ''
  );
}

function sourceOf(location: string, protocol?: string): DriveSource {
  if (protocol === 'host_device' || protocol === 'host_cdrom') return { kind: 'block', location };
  if (protocol === 'file') return { kind: 'file', location };
  if (/^[a-z][a-z0-9+.-]*:/i.test(location) && !location.startsWith('file:'))
    return { kind: 'network', location };
  const path = location.replace(/^file:(?:\/\/(?=\/))?/, '');
  return { kind: path.startsWith('/dev/') ? 'block' : 'file', location: path };
}
