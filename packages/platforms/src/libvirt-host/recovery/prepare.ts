/** Makes a machine whose disks come from exports: files and volumes first, then the machine, at once. */
import { ownIdentity, PrimaError, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, UndefineFlags } from '@prima/libvirt';
import { valueOf } from '@prima/xml';
import { afterFailure } from '../../after-failure.ts';
import type { RestoreDisk } from '../../platform.ts';
import type { RecoveryRequest } from '../../recovery.ts';
import type { DaemonFolders } from '../daemon-folders.ts';
import { diskAt, diskLocation } from '../domain.ts';
import { findDomain } from '../find-domain.ts';
import type { HostLink } from '../link.ts';
import { configurationOf, identityOf, type RestoredDomain, shapeDomain } from '../restore-domain.ts';
import { makeDisk, type NewDisk, type NewDiskRequest } from '../restore-disks.ts';
import { writeMachineFiles } from '../restore-files.ts';
import { type NotedDisk, type RecoveryNote, writeRecoveryNote } from './note.ts';
import { diskXml, recoveringXml } from './shape.ts';
import { recoverySocket } from './socket.ts';

export interface PrepareWork {
  link: HostLink;
  request: RecoveryRequest;
  folders: DaemonFolders;
}

export interface Prepared {
  dom: DomainRef;
  note: RecoveryNote;
  notes: string[];
}

/** See `RecoveryPlatform.prepare`. On failure nothing is left. */
export async function prepareRecovery({ link, request, folders }: PrepareWork): Promise<Prepared> {
  const { name, signal, memory } = request;
  if (!(await link.isLocal(signal))) {
    throw new PrimaError(
      'unsupported',
      `the daemon at ${link.uri} is on another computer, whose machines cannot reach exports of this one; run Prima there, or restore (prima restore … --to-host … --start)`,
    );
  }
  const connection = await link.connection(signal);
  if (await findDomain(connection, name)) {
    throw new PrimaError(
      'exists',
      `there is a machine ${name} on this host; recover it under another name (--as)`,
    );
  }
  const restored = configurationOf(request);
  const notes = [...restored.notes];
  if (memory) notes.push('the memory of the point is left out: the machine starts from its disks');
  const made: NewDisk[] = [];
  try {
    const disks = await makeDisks({ connection, request, folders, restored, made, notes });
    return await define({ connection, request, folders, restored, disks, notes });
  } catch (error) {
    const failure = toPrimaError(error, `recovering ${name}`);
    throw await afterFailure(failure, 'removing what was made', async () => {
      for (const disk of made) await disk.remove(connection);
    });
  }
}

interface Making {
  connection: LibvirtConnection;
  request: RecoveryRequest;
  folders: DaemonFolders;
  restored: RestoredDomain;
  notes: string[];
}

interface MadeDisk {
  noted: NotedDisk;
  overlay: NewDisk;
}

/** Each disk where a restore would put it, and a qcow2 file to run on where that is none. */
async function makeDisks(making: Making & { made: NewDisk[] }): Promise<MadeDisk[]> {
  const { made } = making;
  const disks: MadeDisk[] = [];
  for (const disk of making.request.disks) {
    const asked = diskRequest(making, disk);
    const final = await makeDisk(asked);
    made.push(final);
    if (final.format === 'qcow2') {
      disks.push({
        noted: { target: final.target, disk: disk.name, overlay: final.path },
        overlay: final,
      });
      continue;
    }
    const isFile = valueOf(final.element, 'type') === 'file';
    const { pool: _pool, ...anywhere } = asked;
    const overlay = await makeDisk({
      ...(isFile ? asked : anywhere),
      disk: { ...disk, format: 'qcow2' },
      fileName: `${making.request.name}-${final.target}-recovery.qcow2`,
    });
    made.push(overlay);
    const { element, path } = final;
    const moved = { xml: diskXml(element), path, location: diskLocation(element), isFile };
    disks.push({
      noted: { target: final.target, disk: disk.name, overlay: overlay.path, final: moved },
      overlay,
    });
  }
  return disks;
}

function diskRequest(
  { connection, request, folders, restored, notes }: Making,
  disk: RestoreDisk,
): NewDiskRequest {
  const target = restored.targetOf(disk.slot);
  const original = diskAt(restored.document, target);
  return {
    connection,
    disk,
    target,
    machine: request.name,
    original,
    ...(request.pool === undefined ? {} : { pool: request.pool }),
    fallbackFolder: folders.images,
    notes,
  };
}

/** With the note in it that somebody is making it; the note changes when all is there. */
async function define({ disks, ...making }: Making & { disks: MadeDisk[] }): Promise<Prepared> {
  const { connection, request, folders, restored, notes } = making;
  const original = await findDomain(connection, request.id);
  const { identity, notes: why } = identityOf(restored.document, request, original);
  notes.push(...why);
  const byTarget = new Map(disks.map(({ overlay }) => [overlay.target, overlay]));
  const shaped = shapeDomain(restored, { identity, disks: byTarget, notes });
  const { xml, note } = recoveringXml(shaped, {
    version: 1,
    maker: await ownIdentity(),
    repository: request.repository,
    point: request.point,
    socket: recoverySocket(folders.qemu, identity.uuid),
    disks: disks.map(({ noted }) => noted),
  });
  if (await findDomain(connection, identity.name)) {
    throw new PrimaError('exists', `a machine ${identity.name} has come up on this host meanwhile`);
  }
  const { dom } = await connection.call('domainDefineXmlFlags', { xml });
  try {
    await writeMachineFiles({ connection, dom, request, folders, notes });
    const { maker: _maker, ...whole } = note;
    await writeRecoveryNote(connection, dom, whole, 'config');
    return { dom, note: whole, notes };
  } catch (error) {
    const flags = UndefineFlags.VIR_DOMAIN_UNDEFINE_NVRAM;
    await connection.call('domainUndefineFlags', { dom, flags });
    throw error;
  }
}
