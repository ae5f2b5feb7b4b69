/** A machine that a restore replaces: it keeps its identity; its old disks go once the new ones are its own. */
import { PrimaError, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, XmlFlags } from '@prima/libvirt';
import { forgetCheckpoint, listCheckpoints } from './checkpoints.ts';
import { type Domain, parseDomain } from './domain.ts';
import { filesInUse } from './files-in-use.ts';
import { deleteHostFile } from './host-files.ts';
import { machineState } from './power.ts';
import { checkNoRollback } from './rollback/note.ts';

export interface Replaced {
  dom: DomainRef;
  domain: Domain;
  /** As it is defined, to be defined again should the restore fail. */
  xml: string;
}

/** Raises `state` unless it is off, `refused` while it has snapshots: they would be of disks that are gone. */
export async function toBeReplaced(connection: LibvirtConnection, dom: DomainRef): Promise<Replaced> {
  const state = await machineState(connection, dom);
  if (state !== 'off') {
    throw new PrimaError(
      'state',
      `${dom.name} is ${state}; stop it before it is replaced (prima machine stop)`,
    );
  }
  await checkNoRollback(connection, dom, 'replaced');
  const { snapshots } = await connection.call('domainListAllSnapshots', { dom });
  if (snapshots.length > 0) {
    const names = snapshots.map(({ name }) => name).join(', ');
    throw new PrimaError(
      'refused',
      `${dom.name} has snapshots (${names}), which would be of disks that are gone; delete them before it is replaced`,
    );
  }
  const flags = XmlFlags.VIR_DOMAIN_XML_INACTIVE | XmlFlags.VIR_DOMAIN_XML_SECURE;
  const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
  return { dom, domain: parseDomain(xml, dom.name), xml };
}

/** What libvirt knows of bitmaps is of the disks that were. */
export async function forgetCheckpoints(connection: LibvirtConnection, { dom }: Replaced): Promise<void> {
  for (const { name } of await listCheckpoints(connection, dom))
    await forgetCheckpoint(connection, dom, name);
}

/** @param targets the disks that were replaced. Answers what is left, for people. */
export async function removeOldDisks(
  connection: LibvirtConnection,
  { domain }: Replaced,
  targets: ReadonlySet<string>,
): Promise<string[]> {
  const notes: string[] = [];
  const old = domain.disks.filter(({ target, location }) => targets.has(target) && location !== '');
  for (const { source, location } of old) {
    const why = source === 'file' ? await whyNotRemoved(connection, location) : 'it is no file';
    notes.push(`the old disk ${location} is ${why === undefined ? 'removed' : `left: ${why}`}`);
  }
  return notes;
}

/** Removes a file that no machine has, or builds upon. The machine is there by now, so nothing is raised. */
async function whyNotRemoved(connection: LibvirtConnection, path: string): Promise<string | undefined> {
  try {
    const used = await filesInUse(connection);
    if (await used.has(path)) return 'a machine needs it';
    return (await deleteHostFile(connection, path)) ? undefined : 'it is not there';
  } catch (error) {
    return toPrimaError(error, `removing ${path}`).message;
  }
}
