/**
 * A stand-in: a transient machine that has disks and nothing else and never runs a processor. Through it disks of a machine that
 * is off are read, and disks of one that is being restored are written, by libvirt's and QEMU's own drivers. The daemon
 * removes it when our connection ends. See docs/decisions/0018-libvirt-hosts.md.
 */
import { randomBytes } from 'node:crypto';
import { livenessOfTag, ownTag, PrimaError, toPrimaError } from '@prima/base';
import {
  CreateFlags,
  DestroyFlags,
  type Domain as DomainRef,
  type LibvirtConnection,
  UndefineFlags,
} from '@prima/libvirt';
import {
  elementAt,
  elementMaker,
  elementsOf,
  newDocument,
  setAttribute,
  valueOf,
  writeXml,
  type XmlElement,
} from '@prima/xml';
import type { Domain } from './domain.ts';

const make = elementMaker({});

/** QEMU starts, and opens every disk; a network storage may take its time. */
const startTimeoutMs = 120_000;
/** QEMU stores bitmaps and flushes when it ends. */
const endTimeoutMs = 120_000;

/** Of a disk that QEMU needs to open it; everything that only a guest sees is left out. */
const keptChildren = new Set(['driver', 'source', 'auth', 'encryption', 'backingStore', 'shareable']);
const keptDriverAttributes = new Set(['name', 'type', 'cache', 'discard', 'detect_zeroes']);

const readingPrefix = 'prima-reads-';
const stagedPrefix = 'prima-staged-';

export interface StandIn {
  readonly dom: DomainRef;
  /** Runs a command of QEMU's monitor and gives its return value. Raises `remote` with QEMU's words. */
  monitor(command: string, args?: object): Promise<unknown>;
  /**
   * Ends it, with all that it stores and flushes; may be called again. With `connection` where the one that it was started on may
   * have been lost, and the daemon not have noticed.
   */
  close(connection?: LibvirtConnection): Promise<void>;
}

export interface StandInDisk {
  target: string;
  /** A <disk> of a domain's XML. */
  element: XmlElement;
}

export interface StandInRequest {
  connection: LibvirtConnection;
  /** The machine whose disks they are: its kind of processor and QEMU are what opens them. */
  template: Domain;
  disks: readonly StandInDisk[];
  /**
   * It stays defined until its end is told: for disks that are being made, which are to be found and removed when this
   * process dies.
   */
  isStaged?: boolean;
}

/** Raises `busy` where something else has a disk open, and what libvirt says of disks that cannot be opened. */
export async function startStandIn(request: StandInRequest): Promise<StandIn> {
  const { connection, template, disks, isStaged = false } = request;
  const name = `${isStaged ? stagedPrefix : readingPrefix}${await ownTag()}-${randomBytes(4).toString('hex')}`;
  const xml = standInXml(template, disks, name);
  const flags = CreateFlags.VIR_DOMAIN_START_PAUSED | CreateFlags.VIR_DOMAIN_START_AUTODESTROY;
  const start = async (): Promise<DomainRef> => {
    const slow = { timeoutMs: startTimeoutMs };
    if (!isStaged) return (await connection.call('domainCreateXml', { xml, flags }, slow)).dom;
    const { dom } = await connection.call('domainDefineXmlFlags', { xml });
    try {
      return (await connection.call('domainCreateWithFlags', { dom, flags }, slow)).dom;
    } catch (error) {
      await undefineStandIn(connection, dom); // what is left defined would be taken for a restore that died
      throw error;
    }
  };
  let dom: DomainRef;
  try {
    dom = await start();
  } catch (error) {
    throw explain(toPrimaError(error, `opening the disks of ${template.name}`), template);
  }
  let ended: Promise<void> | undefined;
  const end = async (through: LibvirtConnection) => {
    const graceful = DestroyFlags.VIR_DOMAIN_DESTROY_GRACEFUL;
    await through.call('domainDestroyFlags', { dom, flags: graceful }, { timeoutMs: endTimeoutMs });
  };
  return {
    dom,
    monitor: async (execute, args = {}) => {
      const command = JSON.stringify({ execute, arguments: args });
      const { result } = await connection.call('domainMonitorCommand', { dom, command });
      const answer = JSON.parse(result) as { return?: unknown; error?: { desc?: string } };
      if (answer.error) throw new PrimaError('remote', `QEMU refused ${execute}: ${answer.error.desc ?? ''}`);
      return answer.return;
    },
    close: (through = connection) => {
      if (through !== connection && connection.failure) return end(through);
      return (ended ??= end(connection));
    },
  };
}

/** Where it has gone already, with the connection that it was started on, all is well. */
export async function endStandIn(standIn: StandIn, connection: LibvirtConnection): Promise<void> {
  try {
    await standIn.close(connection);
  } catch (error) {
    if (!['state', 'not-found'].includes(toPrimaError(error, 'ending').code)) throw error;
  }
}

/** Whether a machine is a stand-in: they are nobody's machines. */
export function isStandIn(name: string): boolean {
  return name.startsWith(readingPrefix) || name.startsWith(stagedPrefix);
}

/** Whether it is one whose process has died; `staged` when its disks were being made. */
export async function deadStandIn(name: string): Promise<'reading' | 'staged' | undefined> {
  if (!isStandIn(name)) return undefined;
  const tag = /^prima-(?:reads|staged)-(.+)-[0-9a-f]{8}$/.exec(name)?.[1] ?? '';
  if ((await livenessOfTag(tag)) !== 'dead') return undefined;
  return name.startsWith(stagedPrefix) ? 'staged' : 'reading';
}

/** Image locks: QEMU says so in its own words. */
function explain(failure: PrimaError, { name }: Domain): PrimaError {
  if (!/lock|in use/i.test(failure.message)) return failure;
  const message = `a disk of ${name} is in use by something else (${failure.message})`;
  return new PrimaError('busy', message, { cause: failure, retryable: true });
}

export function standInXml(template: Domain, disks: readonly StandInDisk[], name: string): string {
  const { root } = template.document;
  const type = elementAt(root, 'os', 'type');
  const emulator = elementAt(root, 'devices', 'emulator');
  const devices = [
    ...(emulator ? [emulator] : []),
    ...disks.map(standInDisk),
    make('controller', { type: 'usb', model: 'none' }),
    make('memballoon', { model: 'none' }),
  ];
  const description = `Prima reads or writes disks of ${template.name} through this machine; it never runs and goes by itself`;
  return writeXml(
    newDocument(
      make('domain', { type: template.type }, [
        make('name', {}, [name]),
        make('description', {}, [description]),
        make('memory', { unit: 'MiB' }, ['64']),
        make('vcpu', {}, ['1']),
        make('os', {}, [
          make('type', { arch: valueOf(type, 'arch'), machine: valueOf(type, 'machine') }, ['hvm']),
        ]),
        ...elementsOf(root).filter(({ local }) => local === 'seclabel'),
        make('devices', {}, devices),
      ]),
      "'",
    ),
  );
}

/** A template where there is no machine yet: any that QEMU can make there. */
export function standInPattern(name: string): string {
  return `<domain type='qemu'><name>x</name><uuid>00000000-0000-4000-8000-000000000000</uuid><title>${name.replaceAll(/[<&]/g, '')}</title><os><type>hvm</type></os><devices/></domain>`;
}

/** QEMU's name for a disk of a stand-in: its device has it, too. */
export function standInAlias(target: string): string {
  return `ua-${target}`;
}

function standInDisk({ target, element }: StandInDisk): XmlElement {
  const copy = structuredClone(element);
  copy.attributes = copy.attributes.filter(({ local }) => local === 'type');
  copy.children = elementsOf(copy).filter(({ local }) => keptChildren.has(local));
  setAttribute(copy, 'device', 'disk');
  const driver = elementAt(copy, 'driver');
  if (driver) driver.attributes = driver.attributes.filter(({ local }) => keptDriverAttributes.has(local));
  const source = elementAt(copy, 'source');
  if (source) setAttribute(source, 'index', undefined);
  copy.children.push(
    make('target', { dev: target, bus: 'virtio' }),
    make('alias', { name: standInAlias(target) }),
  );
  return copy;
}

/** A staged stand-in that has ended is forgotten by libvirt; its disks stay. */
export async function undefineStandIn(connection: LibvirtConnection, dom: DomainRef): Promise<void> {
  try {
    const flags = UndefineFlags.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
    await connection.call('domainUndefineFlags', { dom, flags });
  } catch (error) {
    if (toPrimaError(error, 'undefining').code !== 'not-found') throw error;
  }
}
