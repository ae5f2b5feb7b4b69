/** For tests: descriptions from a seed. */
import { MiB, type Random } from '@prima/base';
import {
  type Bus,
  buses,
  type Cdrom,
  type Disk,
  diskModes,
  type DriveSource,
  type MachineDescription,
  type Nic,
  nicModels,
  type ScsiController,
  scsiModels,
  type SerialPort,
  type Slot,
  slotName,
} from './description.ts';
import { defined } from './translation.ts';

/** A description of about everything that there is; its drives are told apart by their location. */
export function randomDescription(random: Random): MachineDescription {
  const indices = shuffled(random, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  const choose = chooser(random, () => indices.pop() ?? 99);
  return defined<MachineDescription>({ ...board(choose), ...devices(choose) });
}

type Choose = ReturnType<typeof chooser>;

function chooser(random: Random, nextBootIndex: () => number) {
  const maybe = <T>(value: () => T): T | undefined => (random.below(2) === 0 ? value() : undefined);
  const one = <T>(items: readonly [T, ...T[]] | readonly T[]): T => {
    const item = items[random.below(items.length)];
    if (item === undefined) throw new Error('there is nothing to choose from');
    return item;
  };
  const letters = Array.from('aZ9,=./ "\'<&>|#ü漢😀%\\{}');
  const text = (): string =>
    Array.from({ length: 1 + random.below(8) }, () => one(letters))
      .join('')
      .trim() || 'x';
  const hex = (length: number) => Array.from({ length }, () => one('0123456789abcdef'.split(''))).join('');
  return { random, maybe, one, text, hex, bootIndex: () => maybe(nextBootIndex) };
}

function board({ random, maybe, one, text, hex }: Choose) {
  const topology = { sockets: 1 + random.below(3), cores: 1 + random.below(4), threads: 1 + random.below(2) };
  const isFlat = random.below(2) === 0;
  return {
    name: text(),
    uuid: maybe(() => hex(32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')),
    annotation: maybe(() => `${text()}\n${text()}`),
    guestOs: maybe(() => ({ vmware: 'debian12-64', cim: 96, libosinfo: 'http://debian.org/debian/12' })),
    memoryBytes: (1 + random.below(9999)) * MiB,
    cpus: defined({
      count: isFlat ? 1 + random.below(8) : topology.sockets * topology.cores * topology.threads,
      topology: isFlat ? undefined : topology,
      model: maybe(() => one(['host', 'max', 'host-model', 'Haswell-noTSX', 'qemu64'])),
    }),
    machineType: maybe(() => one(['pc-q35-7.2', 'pc-i440fx-7.2', 'q35'])),
    hardwareVersion: maybe(() => 8 + random.below(13)),
    firmware: defined({
      kind: one(['bios', 'uefi'] as const),
      secureBoot: maybe(() => random.below(2) === 0),
      loader: maybe(() => '/usr/share/OVMF/OVMF_CODE.fd'),
      nvram: maybe(() => `${text()}.nvram`),
    }),
    kernel: maybe(() =>
      defined({ image: '/boot/vmlinux', initrd: maybe(() => '/boot/initrd'), commandLine: maybe(text) }),
    ),
    clock: maybe(() => one(['utc', 'localtime'] as const)),
    resources: maybe(() => ({
      cpu: { shares: one(['low', 'normal', 'high', 1234] as const), reservationMhz: 500, limitMhz: 2000 },
      memory: { shares: 'normal' as const, reservationBytes: 64 * MiB, limitBytes: 128 * MiB },
    })),
  };
}

function devices(choose: Choose) {
  const { random, maybe, one, text } = choose;
  return {
    ...drives(choose),
    nics: nics(choose),
    video: maybe(() =>
      defined({
        model: maybe(() => one(['vga', 'cirrus', 'virtio', 'qxl', 'vmvga', 'bochs', 'none'])),
        memoryBytes: maybe(() => 2 ** random.below(5) * MiB),
      }),
    ),
    displays: (['vnc', 'spice'] as const)
      .filter(() => random.below(2) === 0)
      .map((kind) =>
        defined({ kind, port: maybe(() => 5900 + random.below(50)), listen: maybe(() => '127.0.0.1') }),
      ),
    serialPorts: Array.from({ length: random.below(4) }, () => randomSerialPort(random, text)),
    tpm: maybe(() =>
      defined({ version: one(['1.2', '2.0'] as const), model: maybe(() => one(['tis', 'crb'] as const)) }),
    ),
  };
}

function drives({ random, maybe, one, text, hex, bootIndex }: Choose) {
  const source = (name: string): DriveSource => {
    const kind = one(['file', 'file', 'file', 'block', 'network'] as const);
    const file = `${name} ${text().replaceAll('/', '_')}`;
    return { kind, location: { file, block: `/dev/${name}`, network: `nbd://host:10809/${name}` }[kind] };
  };
  const slots = randomSlots(random, 6);
  return {
    scsiControllers: shuffled(random, [0, 1, 2, 3])
      .slice(random.below(5))
      .sort((a, b) => a - b)
      .map((index): ScsiController => ({ index, model: one(scsiModels) })),
    disks: slots.slice(0, 4).map((slot, at) =>
      defined<Disk>({
        slot,
        source: source(`d${at}`),
        format: one(['raw', 'qcow2', 'vmdk']),
        capacityBytes: maybe(() => (1 + random.below(2 ** 31)) * 512),
        mode: maybe(() => one(diskModes)),
        readOnly: maybe(() => true),
        serial: maybe(() => `S-${hex(8)}`),
        bootIndex: bootIndex(),
      }),
    ),
    cdroms: slots
      .slice(4)
      .map((slot, at) => defined<Cdrom>({ slot, source: source(`c${at}`), bootIndex: bootIndex() })),
  };
}

function nics({ random, maybe, one, text, hex, bootIndex }: Choose): Nic[] {
  const cards = Array.from({ length: random.below(4) }, () =>
    defined<Nic>({
      model: maybe(() => one(nicModels)),
      mac: maybe(() => `52540${hex(7)}`.replaceAll(/..(?!$)/g, '$&:')),
      network: defined({
        kind: one(['network', 'bridge', 'nat', 'host-only', 'tap', 'none'] as const),
        name: maybe(text),
      }),
      bootIndex: bootIndex(),
    }),
  );
  for (const { network } of cards) if (network.kind === 'network') network.name ??= 'VM Network';
  return cards;
}

function randomSerialPort(random: Random, text: () => string): SerialPort {
  const kinds = ['file', 'pty', 'pipe', 'unix', 'tcp', 'device', 'null'] as const;
  const kind = kinds[random.below(kinds.length)] ?? 'null';
  const server = kind === 'unix' || kind === 'tcp' ? random.below(2) === 0 : undefined;
  const target =
    kind === 'pty' || kind === 'null' ? undefined : kind === 'tcp' ? '127.0.0.1:4555' : `/run/${text()}`;
  return defined<SerialPort>({ kind, target, server });
}

function randomSlots(random: Random, count: number): Slot[] {
  const limits: Record<Bus, number> = { ide: 2, scsi: 16, sata: 6, nvme: 4, virtio: 8, usb: 4 };
  const found = new Map<string, Slot>();
  while (found.size < count) {
    const bus = buses[random.below(buses.length)] ?? 'ide';
    const slot = { bus, controller: random.below(2), unit: random.below(limits[bus]) };
    found.set(slotName(slot), slot);
  }
  return [...found.values()];
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const keyed = items.map((item) => ({ item, key: random.uint32() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
}
