/** A libvirt host: everything through its daemon (docs/decisions/0018-libvirt-hosts.md), whatever hypervisor's host it is on. */
import { forEachBounded, PrimaError, toPrimaError } from '@prima/base';
import {
  type Domain as DomainRef,
  LibvirtError,
  type LibvirtConnection,
  UndefineFlags,
  XmlFlags,
} from '@prima/libvirt';
import type {
  ConfigFile,
  CreateRequest,
  DoctorFinding,
  DoctorOptions,
  Machine,
  MachineReading,
  MachineState,
  OpenForBackupOptions,
  Platform,
  PowerAction,
  PowerOptions,
  Recovery,
  RestoreRequest,
  RestoreTarget,
} from '../platform.ts';
import type { HostConfigurationPlatform, HostItem } from '../host-item.ts';
import type { ResourcePlatform } from '../resources.ts';
import type { RollbackPlatform } from '../rollback.ts';
import type { RecoveringMachine, RecoveryPlatform, RecoveryRequest } from '../recovery.ts';
import { type DaemonFolders, daemonFolders, systemFolders } from './daemon-folders.ts';
import { domainsOf } from './domains-of.ts';
import { examine } from './doctor.ts';
import { type Domain, parseDomain } from './domain.ts';
import { filesInUse } from './files-in-use.ts';
import { findDomain } from './find-domain.ts';
import { hostConfiguration } from './host-configuration.ts';
import { putHostItem, whyHostItemNotPut } from './put-host-item.ts';
import { deleteHostFile, readHostFileEnd } from './host-files.ts';
import { HostLink } from './link.ts';
import { domainFileName, machineFiles, savedMemoryPath } from './machine-files.ts';
import { machineDisk } from './plan.ts';
import { machineState, power } from './power.ts';
import { type SocketPaths, socketPaths } from './reach.ts';
import { openRunning } from './reading.ts';
import { recoverHost } from './recover.ts';
import { findRecovery, LibvirtRecovery } from './recovery/machine.ts';
import { checkNotRecovering } from './recovery/note.ts';
import { prepareRecovery } from './recovery/prepare.ts';
import { readResources, type ResourceRequest, setResources } from './resources.ts';
import { prepareRestore } from './restore.ts';
import { beginRollback } from './rollback/begin.ts';
import { describeRollback } from './rollback/describe.ts';
import { keepRollback, undoRollback } from './rollback/finish.ts';
import { checkNoRollback, readRollbackNote } from './rollback/note.ts';
import { screenshot } from './screen.ts';
import { openStopped } from './stopped-reading.ts';
import { type DaemonCheck, testDaemon } from './test-daemon.ts';

/** Machines looked at side by side: the daemon takes five calls of a client at once. */
const lookAtOnce = 4;

export interface LibvirtHostOptions {
  /** Where a system's daemon keeps its machines' files, instead of `/var/lib/libvirt`. */
  root?: string;
}

/** One machine, looked at now. */
interface Opened {
  connection: LibvirtConnection;
  dom: DomainRef;
  /** As it runs, or as it is defined where it does not. */
  domain: Domain;
  state: MachineState;
  machine: Machine;
}

/** The host whose daemon is at `uri`. Raises `usage` for what is no address of libvirt; connects when it is first asked. */
export function openLibvirtHost(name: string, uri: string, options: LibvirtHostOptions = {}): Platform {
  return new LibvirtHost(name, uri, options.root);
}

class LibvirtHost implements Platform {
  readonly kind = 'libvirt';
  readonly name: string;
  readonly recovery: RecoveryPlatform = {
    prepare: (request) => this.#prepareRecovery(request),
    find: (machine) => this.#findRecovery(machine),
  };
  readonly #link: HostLink;
  readonly #root: string | undefined;
  #folders: DaemonFolders | undefined;

  constructor(name: string, uri: string, root: string | undefined) {
    this.name = name;
    this.#link = new HostLink(uri);
    this.#root = root;
  }

  async #daemonFolders(): Promise<DaemonFolders> {
    this.#folders ??=
      this.#root === undefined
        ? await daemonFolders(this.#link.uri, await this.#link.connection())
        : systemFolders(this.#root);
    return this.#folders;
  }

  async test(): Promise<DaemonCheck[]> {
    return testDaemon(this.#link);
  }

  async inventory(signal?: AbortSignal): Promise<Machine[]> {
    const connection = await this.#link.connection(signal);
    const machines: Machine[] = [];
    await forEachBounded(
      await domainsOf(connection),
      lookAtOnce,
      async (dom) => {
        const machine = await this.#lookOrSay(connection, dom);
        if (machine) machines.push(machine);
      },
      signal,
    );
    return machines.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async find(nameOrId: string, signal?: AbortSignal): Promise<Machine> {
    const connection = await this.#link.connection(signal);
    const dom = await findDomain(connection, nameOrId);
    if (dom) return (await this.#look(connection, dom)).machine;
    const names = (await domainsOf(connection)).map(({ name }) => name).sort();
    throw new PrimaError(
      'not-found',
      `there is no machine ${nameOrId} on ${this.name}; there are: ${names.join(', ') || 'none'}`,
    );
  }

  async configuration(machine: Machine): Promise<ConfigFile> {
    const { connection, dom } = await this.#open(machine);
    const { persistent } = await connection.call('domainIsPersistent', { dom });
    const flags = persistent ? XmlFlags.VIR_DOMAIN_XML_INACTIVE : 0;
    const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
    return { name: domainFileName, bytes: Buffer.from(xml) };
  }

  async openForBackup(machine: Machine, options: OpenForBackupOptions): Promise<MachineReading> {
    const { connection, dom, domain, state, machine: found } = await this.#open(machine);
    const isUp = state === 'running' || state === 'paused';
    if (options.method === 'redo') {
      throw new PrimaError(
        'unsupported',
        `${dom.name} is on a libvirt host, whose machines are held still by libvirt's backup job; leave --method out`,
      );
    }
    if (state === 'unknown') throw new PrimaError('state', `${dom.name} does not say what state it is in`);
    const mode = options.mode === 'auto' ? (isUp ? 'hot' : 'cold') : options.mode;
    const wanted = mode === 'cold' ? 'it off or suspended, use hot' : 'it running, use cold';
    if ((mode === 'cold') === isUp) {
      throw new PrimaError('state', `${dom.name} is ${state}; a ${mode} backup needs ${wanted}`);
    }
    if (mode === 'warm' && state !== 'running') {
      throw new PrimaError('state', `${dom.name} is ${state}; a warm backup needs it running`);
    }
    await checkNotRecovering(connection, dom, 'backed up');
    const folders = await this.#daemonFolders();
    const { files, notes } = await machineFiles({ connection, dom, domain, folders });
    const common = { link: this.#link, dom, domain, options, files, socketPaths: socketsIn(folders) };
    const reading =
      mode === 'cold'
        ? await openStopped({
            ...common,
            ...(state === 'suspended' ? { savedMemory: savedMemoryPath(folders.qemu, dom.name) } : {}),
          })
        : await openRunning({ ...common, machine: found, mode });
    reading.why.push(...notes);
    return reading;
  }

  async prepareRestore(request: RestoreRequest): Promise<RestoreTarget> {
    const folders = await this.#daemonFolders();
    return prepareRestore({
      link: this.#link,
      request,
      folders,
      socketPaths: socketsIn(folders),
      found: async (uuid) => this.find(uuid),
    });
  }

  async #prepareRecovery(request: RecoveryRequest): Promise<RecoveringMachine> {
    const made = await prepareRecovery({ link: this.#link, request, folders: await this.#daemonFolders() });
    const found = () => this.find(made.dom.uuid);
    return new LibvirtRecovery({ link: this.#link, ...made, machine: await found(), found });
  }

  async #findRecovery(machine: Machine): Promise<RecoveringMachine | undefined> {
    const { dom, machine: now } = await this.#open(machine);
    return findRecovery(this.#link, dom, { machine: now, found: () => this.find(machine.id) });
  }

  async power(machine: Machine, action: PowerAction, options: PowerOptions = {}): Promise<Machine> {
    const { connection, dom } = await this.#open(machine);
    await power(connection, dom, action, options);
    return this.find(machine.id);
  }

  async screenshot(machine: Machine): Promise<Uint8Array> {
    const { connection, dom, state } = await this.#open(machine);
    return screenshot(connection, dom, state);
  }

  async consoleLog(machine: Machine, bytes = 65536): Promise<string> {
    const { connection, domain } = await this.#open(machine);
    if (domain.consoleLog === undefined) {
      throw new PrimaError(
        'unsupported',
        `libvirt keeps no log of ${machine.name}'s console unless its XML names a file for it (<log file=…/>); watch it live: virsh console ${machine.name}`,
      );
    }
    return Buffer.from((await readHostFileEnd(connection, domain.consoleLog, bytes)) ?? []).toString();
  }

  async create(request: CreateRequest): Promise<Machine> {
    throw new PrimaError(
      'unsupported',
      `${request.name}: machines of libvirt hosts are made by virt-install or virt-manager; Prima restores and imports them`,
    );
  }

  async delete(machine: Machine): Promise<void> {
    const { connection, dom, domain, state } = await this.#open(machine);
    if (state !== 'off' && state !== 'suspended') {
      throw new PrimaError('state', `${dom.name} is ${state} and cannot be deleted; stop it`);
    }
    const { persistent } = await connection.call('domainIsPersistent', { dom });
    if (!persistent) return;
    await checkNotRecovering(connection, dom, 'deleted');
    await checkNoRollback(connection, dom, 'deleted');
    const flags =
      UndefineFlags.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
      UndefineFlags.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
      UndefineFlags.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
      UndefineFlags.VIR_DOMAIN_UNDEFINE_NVRAM;
    const used = await filesInUse(connection, dom.uuid);
    await connection.call('domainUndefineFlags', { dom, flags });
    for (const { source, location, excluded } of domain.disks) {
      if (source === 'file' && excluded === undefined && !(await used.has(location)))
        await deleteHostFile(connection, location);
    }
  }

  async *hostConfiguration(warn: (text: string) => void = () => undefined): AsyncGenerator<HostItem> {
    yield* hostConfiguration(await this.#link.connection(), warn);
  }

  readonly resources: ResourcePlatform = {
    read: async (machine) => readResources(await this.#resourcesOf(machine)),
    set: async (machine, settings) => setResources(await this.#resourcesOf(machine), settings),
  };

  async #resourcesOf(machine: Machine): Promise<ResourceRequest> {
    const { connection, dom, state } = await this.#open(machine);
    return { connection, dom, isUp: state === 'running' || state === 'paused' };
  }

  readonly rollback: RollbackPlatform = {
    begin: async (machine, options = {}) => {
      const opened = await this.#open(machine);
      return describeRollback(await beginRollback({ ...opened, options }), opened.domain);
    },
    find: async (machine) => {
      const { connection, dom, domain } = await this.#open(machine);
      const note = await readRollbackNote(connection, dom);
      return note && describeRollback(note, domain);
    },
    keep: async (machine, options = {}) => keepRollback({ ...(await this.#open(machine)), options }),
    undo: async (machine, options = {}) => undoRollback({ ...(await this.#open(machine)), options }),
  };

  readonly configurations: HostConfigurationPlatform = {
    whyNotPut: whyHostItemNotPut,
    put: async (item, options) => putHostItem(await this.#link.connection(), item, options),
  };

  async doctor(machine: Machine, options: DoctorOptions = {}): Promise<DoctorFinding[]> {
    const { connection, dom, domain, state } = await this.#open(machine);
    return examine({ connection, dom, domain, state, options });
  }

  async close(): Promise<void> {
    await this.#link.close();
  }

  async recover(): Promise<Recovery[]> {
    return recoverHost(await this.#link.connection());
  }

  async #look(connection: LibvirtConnection, dom: DomainRef): Promise<Opened> {
    const { xml } = await connection.call('domainGetXmlDesc', { dom });
    const domain = parseDomain(xml, `the machine ${dom.name}`);
    const state = await machineState(connection, dom);
    const isUp = state === 'running' || state === 'paused';
    const disks = [];
    const notes: string[] = [];
    for (const disk of domain.disks) {
      try {
        const { capacity } = await connection.call('domainGetBlockInfo', { dom, disk: disk.target });
        disks.push(machineDisk(disk, capacity));
      } catch (error) {
        if (!(error instanceof LibvirtError)) throw error;
        if (disk.excluded === undefined && isUp) notes.push(`${disk.target}: ${error.text}`);
        disks.push(machineDisk(disk, 0));
      }
    }
    const machine: Machine = {
      id: domain.uuid,
      name: domain.name,
      host: this.name,
      state,
      accelerator: domain.type === 'qemu' ? 'tcg' : domain.type,
      memoryBytes: domain.memoryBytes,
      cpus: domain.cpus,
      disks,
      agent: agentOf(domain, isUp),
      notes,
    };
    return { connection, dom, domain, state, machine };
  }

  /** Undefined for a machine that has gone since it was listed. */
  async #lookOrSay(connection: LibvirtConnection, dom: DomainRef): Promise<Machine | undefined> {
    try {
      return (await this.#look(connection, dom)).machine;
    } catch (error) {
      const { code, message } = toPrimaError(error, `looking at ${dom.name}`);
      if (code === 'not-found') return undefined;
      if (connection.failure) throw error;
      const nothing = { memoryBytes: 0, cpus: 0, disks: [], agent: 'unknown' as const };
      return {
        id: dom.uuid,
        name: dom.name,
        host: this.name,
        state: 'unknown',
        ...nothing,
        notes: [message],
      };
    }
  }

  async #open({ id, name }: Machine): Promise<Opened> {
    const connection = await this.#link.connection();
    const dom = await findDomain(connection, id);
    if (!dom) throw new PrimaError('not-found', `${name} is no machine of the host ${this.name} any more`);
    return this.#look(connection, dom);
  }
}

function socketsIn({ runs }: DaemonFolders): SocketPaths {
  return (dom, socket) => socketPaths(runs, dom, socket);
}

function agentOf({ agent, hasAgentChannel }: Domain, isUp: boolean): Machine['agent'] {
  if (!isUp || !hasAgentChannel) return 'unknown';
  return agent === 'connected' ? 'answers' : 'silent';
}
