/**
 * A machine's configuration in whatever dialect it is, told by its content:
 *
 *   XML              `<domain>` is libvirt's, `<Envelope>` is OVF's
 *   key = value      .vmx, with a key that every such file has
 *   words            QEMU's command line: `qemu-system-… -m 512`, or its options alone
 */
import { basename } from 'node:path';
import { FormatError, PrimaError } from '@prima/base';
import { writeXml, parseXml } from '@prima/xml';
import { readDomain } from '../libvirt/read-domain.ts';
import { writeDomain } from '../libvirt/write-domain.ts';
import { readOvf } from '../ovf/read-ovf.ts';
import { writeOvf } from '../ovf/write-ovf.ts';
import { joinCommand, splitCommand } from '../qemu-arguments/command-text.ts';
import { readQemuArguments } from '../qemu-arguments/read-arguments.ts';
import { writeQemuArguments } from '../qemu-arguments/write-arguments.ts';
import { readVmxDescription } from '../vmx/read-description.ts';
import { parseVmx, type Vmx, writeVmx } from '../vmx/vmx.ts';
import { writeVmxDescription } from '../vmx/write-description.ts';
import { type Disk, type MachineDescription, slotName } from './description.ts';
import type { Translation } from './translation.ts';

export const configurationDialects = ['vmx', 'ovf', 'libvirt', 'qemu'] as const;
export type ConfigurationDialect = (typeof configurationDialects)[number];

export interface ReadConfiguration extends Translation<MachineDescription> {
  dialect: ConfigurationDialect;
  /** The description's disks by what the dialect calls their slot. */
  disksBySlot: ReadonlyMap<string, Disk>;
}

export interface ConfigurationReadChoices {
  /** Where an OVF envelope has several machines: which, by its `ovf:id`. */
  system?: string;
}

/** The most that a configuration has. */
export const configurationLimitBytes = 4 * 1024 * 1024;

/** @param name the file's, for messages and for machines without a name. Raises `format`. */
export function readConfiguration(
  bytes: Uint8Array,
  name: string,
  choices: ConfigurationReadChoices = {},
): ReadConfiguration {
  if (bytes.length > configurationLimitBytes) {
    throw new FormatError(
      `${name}: ${bytes.length} bytes where a machine's configuration was expected, of ${configurationLimitBytes} at most`,
    );
  }
  const fallbackName = basename(name).replace(/\.[a-z0-9]{1,5}$/i, '') || 'machine';
  if (isXml(bytes)) return readXml(bytes, name, { ...choices, fallbackName });
  const vmx = asVmx(bytes, name);
  if (vmx) return { dialect: 'vmx', ...readVmxDescription(vmx, fallbackName) };
  const words = asCommand(bytes);
  if (words) return bySlotName('qemu', readQemuArguments(words, fallbackName));
  throw new FormatError(
    `${name} is no machine's configuration: neither .vmx, nor OVF or libvirt XML, nor a QEMU command line shows in it`,
  );
}

function readXml(
  bytes: Uint8Array,
  name: string,
  choices: ConfigurationReadChoices & { fallbackName: string },
): ReadConfiguration {
  const document = parseXml(bytes, name);
  const { local } = document.root;
  if (local === 'domain') return bySlotName('libvirt', readDomain(document));
  if (local === 'Envelope') return bySlotName('ovf', readOvf(document, choices));
  throw new FormatError(
    `${name}: the root is <${document.root.name}> where <domain> or <Envelope> was expected`,
  );
}

function bySlotName(
  dialect: ConfigurationDialect,
  { result, notCarried }: Translation<MachineDescription>,
): ReadConfiguration {
  const disksBySlot = new Map(result.disks.map((disk) => [slotName(disk.slot), disk]));
  return { dialect, result, notCarried, disksBySlot };
}

/** `<` after what may stand before it, or the mark of UTF-16. */
function isXml(bytes: Uint8Array): boolean {
  const [a, b, c] = bytes;
  if ((a === 0xfe && b === 0xff) || (a === 0xff && b === 0xfe)) return true;
  const start = a === 0xef && b === 0xbb && c === 0xbf ? 3 : 0;
  return bytes.subarray(start).find((byte) => byte > 0x20) === 0x3c;
}

const vmxKeys = ['config.version', 'virtualHW.version', 'displayName', 'guestOS', 'memsize', 'numvcpus'];

/** Undefined where it is none; raises what is wrong with it where its name says that it is one. */
function asVmx(bytes: Uint8Array, name: string): Vmx | undefined {
  try {
    const vmx = parseVmx(bytes);
    return vmxKeys.some((key) => vmx.has(key)) ? vmx : undefined;
  } catch (error) {
    const isNamed = name.toLowerCase().endsWith('.vmx');
    if (!isNamed && error instanceof PrimaError && error.code === 'format') return undefined;
    throw error;
  }
}

function asCommand(bytes: Uint8Array): string[] | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const looksRight = /^(?:\s*#[^\n]*\n|\s)*(?:[^\n]*\bqemu[\w.-]*\s|-{1,2}[a-z])/i.test(text.slice(0, 4096));
  return looksRight && /(?:^|\s)-{1,2}[a-zA-Z]/.test(text) ? splitCommand(text) : undefined;
}

export interface ConfigurationWriteChoices {
  /** The folder that relative paths are in, for dialects that name files from the root. */
  folder?: string;
}

/** The text of a file in `dialect`; .vmx files are for VMware. */
export function writeConfiguration(
  description: MachineDescription,
  dialect: ConfigurationDialect,
  { folder }: ConfigurationWriteChoices = {},
): Translation<string> {
  switch (dialect) {
    case 'vmx': {
      const { result, notCarried } = writeVmxDescription(description, { flavour: 'vmware' });
      return { result: writeVmx(result), notCarried };
    }
    case 'ovf': {
      const { result, notCarried } = writeOvf(description);
      return { result: writeXml(result.document), notCarried };
    }
    case 'libvirt': {
      const { result, notCarried } = writeDomain(description, folder === undefined ? {} : { folder });
      return { result: writeXml(result), notCarried };
    }
    case 'qemu': {
      const { result, notCarried } = writeQemuArguments(description);
      return { result: `${joinCommand(['qemu-system-x86_64', ...result])}\n`, notCarried };
    }
  }
}
