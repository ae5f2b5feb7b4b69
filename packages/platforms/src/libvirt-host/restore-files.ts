/** What libvirt keeps beside a machine's XML, from a restore point: firmware variables, the TPM's state, autostart. */
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import type { RestoreRequest } from '../platform.ts';
import type { DaemonFolders } from './daemon-folders.ts';
import { parseDomain } from './domain.ts';
import { writeHostFile } from './host-files.ts';
import { factsFileName, type MachineFacts, nvramFileName, tpmFileName, tpmPath } from './machine-files.ts';

export interface MachineFilesWork {
  connection: LibvirtConnection;
  /** Defined, and off. */
  dom: DomainRef;
  request: RestoreRequest;
  folders: DaemonFolders;
  notes: string[];
}

export async function writeMachineFiles(work: MachineFilesWork): Promise<void> {
  const { connection, dom, request, folders, notes } = work;
  const bytesOf = (name: string) => request.files.find((file) => file.name === name)?.bytes;
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  const { nvram, hasTpm } = parseDomain(xml, dom.name);
  const [variables, state, facts] = [bytesOf(nvramFileName), bytesOf(tpmFileName), bytesOf(factsFileName)];
  if (variables && nvram !== undefined) await writeHostFile(connection, nvram, variables);
  if (state && hasTpm)
    await writeHostFile(connection, tpmPath(folders.tpm, dom.uuid), state, { makeFolders: true });
  if (!facts) return;
  const { autostart } = JSON.parse(Buffer.from(facts).toString()) as Partial<MachineFacts>;
  if (autostart !== true) return;
  if (dom.uuid === request.id) await connection.call('domainSetAutostart', { dom, autostart });
  else notes.push('the original starts with its host; this copy does not');
}
