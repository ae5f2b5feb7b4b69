/** A machine from a restore point: its disks are made and written through a stand-in, then it is defined, at once. */
import { PrimaError, toPrimaError } from '@prima/base';
import type { WritableDevice } from '@prima/block';
import {
  type Domain as DomainRef,
  type LibvirtConnection,
  SaveRestoreFlags,
  UndefineFlags,
  XmlFlags,
} from '@prima/libvirt';
import { elementAt } from '@prima/xml';
import { afterFailure } from '../after-failure.ts';
import type { ConfigFile, Machine, RestoreRequest, RestoreTarget } from '../platform.ts';
import { diskAt, type Domain, parseDomain } from './domain.ts';
import type { DaemonFolders } from './daemon-folders.ts';
import { diskWay } from './disk-way.ts';
import { exportDisks } from './exports.ts';
import { namedFiles } from './files-in-use.ts';
import { findDomain } from './find-domain.ts';
import type { HostLink } from './link.ts';
import { machineFiles, savedMemoryPath } from './machine-files.ts';
import { mapNetworks } from './map-networks.ts';
import { otherScratchFolder } from './plan.ts';
import { power } from './power.ts';
import { forgetCheckpoints, removeOldDisks, type Replaced, toBeReplaced } from './replaced.ts';
import { type Reached, reachDisks, type SocketPaths } from './reach.ts';
import {
  asDefined,
  configurationOf,
  identityOf,
  placeDisks,
  type RestoredDomain,
  shapeDomain,
} from './restore-domain.ts';
import { makeDisk, makeNamedFile, type NewDisk } from './restore-disks.ts';
import { writeMachineFiles } from './restore-files.ts';
import { endStandIn, standInPattern, startStandIn, type StandIn, undefineStandIn } from './stand-in.ts';

/** What the stand-in calls the file of the memory; no disk of a machine is called so. */
const memoryTarget = 'vdzzz';

export interface RestoreWork {
  link: HostLink;
  request: RestoreRequest;
  folders: DaemonFolders;
  socketPaths: SocketPaths;
  /** Looks at a machine that has just been made. */
  found(uuid: string): Promise<Machine>;
}

/** See `Platform.prepareRestore`. */
export async function prepareRestore(work: RestoreWork): Promise<RestoreTarget> {
  const restore = new Restore(work);
  try {
    return await restore.prepare();
  } catch (error) {
    const failure = toPrimaError(error, `restoring ${work.request.name}`);
    throw await afterFailure(failure, 'taking a restore back', () => restore.abort());
  }
}

class Restore {
  readonly #work: RestoreWork;
  readonly #notes: string[] = [];
  readonly #devices: WritableDevice[] = [];
  readonly #made: NewDisk[] = [];
  #replaced: Replaced | undefined;
  /** Its firmware variables and TPM as they were. */
  #replacedFiles: ConfigFile[] = [];
  #standIn: StandIn | undefined;
  #reached: Reached | undefined;
  #isOver = false;

  constructor(work: RestoreWork) {
    this.#work = work;
  }

  async prepare(): Promise<RestoreTarget> {
    const { link, request } = this.#work;
    const connection = await link.connection(request.signal);
    this.#replaced = await this.#findReplaced(connection);
    const restored =
      this.#replaced && request.onlyDisks === true ? asDefined(this.#replaced.xml) : configurationOf(request);
    this.#notes.push(...restored.notes);
    await this.#mapNetworks(connection, restored);
    const disks = await this.#makeDisks(connection, restored);
    const memory = await this.#makeMemory(connection, restored);
    const targets = await this.#openDisks(connection, disks);
    return {
      disks: targets,
      ...(memory ? { memory: this.#deviceOf(memory) } : {}),
      notes: this.#notes,
      commit: async ({ start = false } = {}) => this.#commit(restored, disks, start),
      abort: () => this.abort(),
    };
  }

  /** Raises `exists` and `not-found` where the name is taken or not, against what was asked for. */
  async #findReplaced(connection: LibvirtConnection): Promise<Replaced | undefined> {
    const { name, replace } = this.#work.request;
    const found = await findDomain(connection, name);
    if (found && replace === true) return await toBeReplaced(connection, found);
    if (found) {
      const choices = 'restore it under another name (--as), or in its place (--replace)';
      throw new PrimaError('exists', `there is a machine ${name} on this host; ${choices}`);
    }
    if (replace !== true) return undefined;
    throw new PrimaError('not-found', `there is no machine ${name} on this host to be replaced`);
  }

  async #mapNetworks(connection: LibvirtConnection, restored: RestoredDomain): Promise<void> {
    const { networks = {}, onlyDisks } = this.#work.request;
    if (onlyDisks === true) return;
    const present = (await connection.call('connectListAllNetworks', {})).networks.map(({ name }) => name);
    const devices = elementAt(restored.document.root, 'devices');
    this.#notes.push(...mapNetworks(devices, { map: networks, present }));
  }

  async #identity(connection: LibvirtConnection, restored: RestoredDomain) {
    const { request } = this.#work;
    if (this.#replaced) {
      const { name, uuid } = this.#replaced.dom;
      return { identity: { name, uuid, renewsMacs: false }, notes: [] };
    }
    return identityOf(restored.document, request, await findDomain(connection, request.id));
  }

  /** By slot of the request. */
  async #makeDisks(connection: LibvirtConnection, restored: RestoredDomain): Promise<Map<string, NewDisk>> {
    const { request, folders } = this.#work;
    const disks = new Map<string, NewDisk>();
    for (const disk of request.disks) {
      const target = restored.targetOf(disk.slot);
      const original = diskAt(restored.document, target);
      const made = await makeDisk({
        connection,
        disk,
        target,
        machine: request.name,
        original,
        ...(request.pool === undefined ? {} : { pool: request.pool }),
        ...(request.format === undefined ? {} : { format: request.format }),
        fallbackFolder: folders.images,
        notes: this.#notes,
      });
      this.#made.push(made);
      disks.set(disk.slot, made);
    }
    return disks;
  }

  /**
   * The file that libvirt looks for when the machine is started: it goes on where its memory was taken. Saved memory fits only
   * the machine that it was saved of.
   */
  async #makeMemory(connection: LibvirtConnection, restored: RestoredDomain): Promise<NewDisk | undefined> {
    const { request, folders } = this.#work;
    if (!request.memory) return undefined;
    const { identity } = await this.#identity(connection, restored);
    if (identity.uuid !== request.id || restored.isTranslated) {
      const why = restored.isTranslated ? 'it is of another kind of host' : 'it gets another identity';
      this.#notes.push(`the memory of the point is left out: ${why}; the machine starts from its disks`);
      return undefined;
    }
    const path = savedMemoryPath(folders.qemu, request.name);
    const made = await makeNamedFile(connection, { target: memoryTarget, path, size: request.memory.size });
    this.#made.push(made);
    return made;
  }

  #deviceOf({ target }: NewDisk): WritableDevice {
    const device = this.#devices[this.#made.findIndex((made) => made.target === target)];
    if (!device) throw new PrimaError('internal', `the stand-in has no ${target}`);
    return device;
  }

  async #openDisks(
    connection: LibvirtConnection,
    disks: ReadonlyMap<string, NewDisk>,
  ): Promise<RestoreTarget['disks']> {
    const { link, socketPaths, request } = this.#work;
    if (this.#made.length === 0) return [];
    const way = await diskWay({ connection, link, folder: otherScratchFolder });
    const template = parseDomain(standInPattern(request.name), 'a stand-in');
    const standIn = await startStandIn({ connection, template, disks: this.#made, isStaged: true });
    this.#standIn = standIn;
    const sockets = socketPaths(standIn.dom, 'prima.sock');
    const names = this.#made.map(({ target }) => target);
    const server = await exportDisks(standIn, names, { way, sockets, writable: true });
    this.#reached = await reachDisks(connection, way, server);
    for (const { target } of this.#made) {
      this.#devices.push(await this.#reached.open({ exportName: target, writable: true }));
    }
    return [...disks].map(([slot, disk]) => ({ slot, path: disk.path, device: this.#deviceOf(disk) }));
  }

  async #commit(
    restored: RestoredDomain,
    disks: ReadonlyMap<string, NewDisk>,
    start: boolean,
  ): Promise<Machine> {
    const { link, request } = this.#work;
    for (const device of this.#devices) await device.flush();
    await this.#letDisksGo();
    const connection = await link.connection();
    const dom = await this.#define(connection, restored, disks);
    this.#isOver = true;
    try {
      // from here on the disks are the machine's, whatever becomes of us
      if (this.#standIn) await undefineStandIn(connection, this.#standIn.dom);
      await this.#writeFiles(connection, dom, request.files);
      await this.#adaptMemory(connection, disks);
    } catch (error) {
      await this.#takeBack(connection, dom);
      this.#isOver = false;
      throw error;
    }
    if (this.#replaced) {
      const targets = new Set(this.#made.map(({ target }) => target));
      this.#notes.push(...(await removeOldDisks(connection, this.#replaced, targets)));
    }
    if (start) await this.#start(connection, dom);
    return this.#work.found(dom.uuid);
  }

  async #start(connection: LibvirtConnection, dom: DomainRef): Promise<void> {
    const { signal, logger } = this.#work.request;
    try {
      await power(connection, dom, 'start', { signal, logger });
    } catch (error) {
      const { code, message } = toPrimaError(error, 'starting it');
      const said = `${dom.name} is restored and stays, but does not start: ${message}`;
      throw new PrimaError(code, said, { cause: error });
    }
  }

  /** One disk alone leaves firmware variables and the TPM as the host has them. */
  async #writeFiles(
    connection: LibvirtConnection,
    dom: DomainRef,
    files: RestoreRequest['files'],
  ): Promise<void> {
    const { request, folders } = this.#work;
    if (request.onlyDisks === true) return;
    await writeMachineFiles({ connection, dom, request: { ...request, files }, folders, notes: this.#notes });
  }

  async #takeBack(connection: LibvirtConnection, dom: DomainRef): Promise<void> {
    if (this.#replaced) {
      await connection.call('domainDefineXmlFlags', { xml: this.#replaced.xml });
      await this.#writeFiles(connection, dom, this.#replacedFiles);
      return;
    }
    const flags = UndefineFlags.VIR_DOMAIN_UNDEFINE_NVRAM;
    await connection.call('domainUndefineFlags', { dom, flags });
  }

  async #define(
    connection: LibvirtConnection,
    restored: RestoredDomain,
    disks: ReadonlyMap<string, NewDisk>,
  ): Promise<DomainRef> {
    const { identity, notes } = await this.#identity(connection, restored);
    this.#notes.push(...notes);
    const byTarget = new Map([...disks.values()].map((disk) => [disk.target, disk]));
    const keepsOthers = this.#work.request.onlyDisks === true;
    const xml = shapeDomain(restored, { identity, disks: byTarget, notes: this.#notes, keepsOthers });
    if (this.#replaced) {
      const { dom, domain } = await toBeReplaced(connection, this.#replaced.dom); // it may have been started meanwhile
      const { folders } = this.#work;
      this.#replacedFiles = (await machineFiles({ connection, dom, domain, folders })).files;
      if (!keepsOthers) await forgetCheckpoints(connection, this.#replaced);
    } else if (await findDomain(connection, identity.name)) {
      throw new PrimaError('exists', `a machine ${identity.name} has come up on this host meanwhile`);
    }
    await checkOwnVariables(connection, parseDomain(xml, identity.name));
    return (await connection.call('domainDefineXmlFlags', { xml })).dom;
  }

  /** Saved memory has the machine's XML with it, which names the disks that the machine had. */
  async #adaptMemory(connection: LibvirtConnection, disks: ReadonlyMap<string, NewDisk>): Promise<void> {
    const memory = this.#made.find(({ target }) => target === memoryTarget);
    if (!memory) return;
    const file = memory.path;
    const flags = SaveRestoreFlags.VIR_DOMAIN_SAVE_RUNNING;
    const { xml } = await connection.call('domainSaveImageGetXmlDesc', {
      file,
      flags: XmlFlags.VIR_DOMAIN_XML_SECURE,
    });
    const byTarget = new Map([...disks.values()].map((disk) => [disk.target, disk]));
    const dxml = placeDisks(xml, byTarget);
    await connection.call('domainSaveImageDefineXml', { file, dxml, flags });
    this.#notes.push('when it is started it goes on where its memory was taken');
  }

  async #letDisksGo(): Promise<void> {
    for (const device of this.#devices.splice(0)) await device.close();
    await this.#reached?.close();
    await this.#standIn?.close();
  }

  async abort(): Promise<void> {
    const { link } = this.#work;
    for (const device of this.#devices.splice(0)) await device.close();
    await this.#reached?.close();
    if (this.#isOver) return;
    this.#isOver = true;
    const connection = await link.connection();
    if (this.#standIn) await endStandIn(this.#standIn, connection);
    for (const disk of this.#made) {
      await disk.remove(connection).catch((error: unknown) => {
        if (toPrimaError(error, 'removing').code !== 'not-found') throw error;
      });
    }
    if (this.#standIn) await undefineStandIn(connection, this.#standIn.dom);
  }
}

/** What is written there, and removed with the machine, must be nobody else's. */
async function checkOwnVariables(
  connection: LibvirtConnection,
  { name, uuid, nvram }: Domain,
): Promise<void> {
  if (nvram === undefined || !(await namedFiles(connection, uuid)).has(nvram)) return;
  throw new PrimaError(
    'exists',
    `the firmware's variables of ${name} would be in ${nvram}, which another machine of this host has; restore it under another name (--as)`,
  );
}
