/** QEMU's arguments as options, https://www.qemu.org/docs/master/system/invocation.html. */
import { FormatError } from '@prima/base';
import { QemuOption } from './option.ts';

/** Options that take no value; all others take one. */
const flags = new Set(
  (
    'enable-kvm nographic daemonize S s snapshot no-reboot no-shutdown nodefaults no-user-config usb no-acpi no-hpet ' +
    'full-screen singlestep only-migratable mem-prealloc no-fd-bootchk win2k-hack preconfig version help h portrait ' +
    'enable-sync-profile xen-attach xen-domid-restrict'
  ).split(' '),
);

/** The key that a value without one is for. */
const firstKeys: Readonly<Record<string, string>> = {
  machine: 'type',
  accel: 'accel',
  cpu: 'model',
  smp: 'cpus',
  m: 'size',
  name: 'guest',
  device: 'driver',
  netdev: 'type',
  nic: 'type',
  net: 'type',
  chardev: 'backend',
  tpmdev: 'type',
  blockdev: 'driver',
  boot: 'order',
  object: 'qom-type',
  drive: 'file',
  vnc: 'display',
  display: 'type',
};

const spellings: Readonly<Record<string, string>> = { M: 'machine' };

/** Values that are taken as they are, commas and all. */
const whole = new Set('append bios pflash kernel initrd uuid vga hda hdb hdc hdd cdrom serial'.split(' '));

const limitArguments = 10_000;
const limitCharacters = 1024 * 1024;

export class QemuArguments {
  readonly #options: QemuOption[] = [];

  /** Without the program's name, or with it: a first word that is none of ours is one. Raises `format`. */
  constructor(words: readonly string[]) {
    const characters = words.reduce((sum, word) => sum + word.length, 0);
    if (words.length > limitArguments || characters > limitCharacters) {
      throw new FormatError(
        `QEMU arguments: ${words.length} of ${characters} characters where at most ${limitArguments} of ` +
          `${limitCharacters} were expected`,
      );
    }
    const isProgram = /(?:^|\/)(?:qemu-system-[\w-]+|qemu-kvm|kvm|qemu)$/.test(words[0] ?? '');
    for (let at = isProgram ? 1 : 0; at < words.length; at += 1) {
      const word = words[at] ?? '';
      const written = /^--?([\w-]+)$/.exec(word)?.[1];
      const name = written === undefined ? 'hda' : (spellings[written] ?? written);
      let text: string | undefined = word;
      if (written !== undefined) {
        text = flags.has(name) ? undefined : words[at + 1];
        if (text === undefined && !flags.has(name)) {
          throw new FormatError(
            `QEMU arguments: ${word.slice(0, 80)} is the last, where its value was expected`,
          );
        }
        at += text === undefined ? 0 : 1;
      }
      this.#options.push(makeOption(name, text));
    }
  }

  all(name: string): QemuOption[] {
    return this.#options.filter((option) => option.name === name);
  }

  /** The last one counts. */
  last(name: string): QemuOption | undefined {
    return this.all(name).at(-1);
  }

  /** The value of an option that is taken whole; undefined where it is absent. */
  text(name: string): string | undefined {
    const option = this.last(name);
    option?.settle();
    return option?.text;
  }

  has(name: string): boolean {
    return this.#options.some((option) => option.name === name);
  }

  settle(names: readonly string[]): void {
    for (const option of this.#options) if (names.includes(option.name)) option.settle();
  }

  unreadParts(): { where: string; what: string }[] {
    return this.#options.flatMap((option) => option.unreadParts());
  }
}

function makeOption(name: string, text: string | undefined): QemuOption {
  return new QemuOption(name, text, whole.has(name) ? undefined : (firstKeys[name] ?? ''));
}
