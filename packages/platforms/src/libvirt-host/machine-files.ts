/** The small files of a machine that go into every point: its configuration, firmware variables, TPM, what libvirt keeps beside. */
import { join } from 'node:path';
import { MiB, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, XmlFlags } from '@prima/libvirt';
import type { ConfigFile } from '../platform.ts';
import type { DaemonFolders } from './daemon-folders.ts';
import type { Domain } from './domain.ts';
import { readHostFile } from './host-files.ts';
import { readRollbackNote, type RollbackNote } from './rollback/note.ts';
import { withoutRollback } from './rollback/overlays.ts';

export const domainFileName = 'domain.xml';
export const nvramFileName = 'nvram.fd';
export const tpmFileName = 'tpm2-00.permall';
export const factsFileName = 'libvirt.json';

/** Variables of UEFI have 528 KiB, a TPM's state some KiB. */
export const fileLimitBytes = 64 * MiB;

/** What libvirt knows of a machine that is not in its XML. */
export interface MachineFacts {
  version: 1;
  autostart: boolean;
}

/** Where swtpm keeps a machine's state. @param folder `/var/lib/libvirt/swtpm` for the system's daemon */
export function tpmPath(folder: string, uuid: string): string {
  return join(folder, uuid, 'tpm2', tpmFileName);
}

/** Where libvirt saves a machine's memory, and looks for it when it is started. @param qemu `/var/lib/libvirt/qemu` */
export function savedMemoryPath(qemu: string, name: string): string {
  return join(qemu, 'save', `${name}.save`);
}

export interface MachineFilesRequest {
  connection: LibvirtConnection;
  dom: DomainRef;
  domain: Domain;
  folders: DaemonFolders;
}

export async function machineFiles(
  request: MachineFilesRequest,
): Promise<{ files: ConfigFile[]; notes: string[] }> {
  const { connection, dom, domain, folders } = request;
  const notes: string[] = [];
  const rollback = await readRollbackNote(connection, dom);
  const files: ConfigFile[] = [
    { name: domainFileName, bytes: await configurationOf(connection, dom, rollback) },
  ];
  if (rollback) {
    notes.push(
      `a rollback point of ${rollback.made} is open (${rollback.phase}): this point has what was written since, too`,
    );
  }
  const { autostart } = await connection.call('domainGetAutostart', { dom });
  const facts: MachineFacts = { version: 1, autostart };
  files.push({ name: factsFileName, bytes: Buffer.from(`${JSON.stringify(facts, undefined, 2)}\n`) });
  const add = async (name: string, path: string, what: string) => {
    try {
      const bytes = await readHostFile(connection, path, fileLimitBytes);
      if (bytes) files.push({ name, bytes });
      else
        notes.push(
          `${what} (${path}) is not there yet: the machine has not been started since it was defined`,
        );
    } catch (error) {
      const failure = toPrimaError(error, `reading ${path}`);
      if (failure.code === 'cancelled' || failure.code === 'internal') throw failure;
      notes.push(`${what} is not in the point: ${failure.message}`);
    }
  };
  if (domain.nvram !== undefined) await add(nvramFileName, domain.nvram, "the firmware's variables");
  if (domain.hasTpm) await add(tpmFileName, tpmPath(folders.tpm, domain.uuid), "the TPM's state");
  return { files, notes };
}

/** As it is defined, with passwords (of its display): points are encrypted. A transient machine has only its running one. */
async function configurationOf(
  connection: LibvirtConnection,
  dom: DomainRef,
  rollback: RollbackNote | undefined,
): Promise<Uint8Array> {
  const { persistent } = await connection.call('domainIsPersistent', { dom });
  const flags =
    XmlFlags.VIR_DOMAIN_XML_SECURE |
    (persistent ? XmlFlags.VIR_DOMAIN_XML_INACTIVE : XmlFlags.VIR_DOMAIN_XML_MIGRATABLE);
  const { xml } = await connection.call('domainGetXmlDesc', { dom, flags });
  return Buffer.from(rollback ? withoutRollback(xml, rollback.disks) : xml);
}
