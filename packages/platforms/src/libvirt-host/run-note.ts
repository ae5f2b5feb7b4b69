/**
 * What is under way on a running machine, written into its metadata on the host before it is begun (live only: it never
 * gets into the machine's configuration), so that whoever finds it can undo it: the run itself, its guardian, the next run.
 */
import { type ProcessIdentity, PrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { type MetadataPlace, readMetadata, writeMetadata } from './metadata.ts';

const place: MetadataPlace = { uri: 'urn:prima:run:1', key: 'prima', element: 'run', where: 'live' };

export interface RunNote {
  version: 1;
  /** Of this run alone. */
  run: string;
  process: ProcessIdentity;
  /** "a hot backup" */
  purpose: string;
  /** ISO 8601. */
  begun: string;
  /** The point in time may not have been taken: the guest may be frozen or stopped by us. */
  inWindow: boolean;
  /** It ran, so it has to run afterwards. */
  wasRunning: boolean;
  freezes: boolean;
  /** libvirt's checkpoint that comes with the point. */
  checkpoint?: string;
  /** The restore point is being committed, or is: its checkpoint is needed. */
  isCommitting?: boolean;
  /** Where QEMU serves the disks, or `tls`: by it earlier versions tell our job from another's. */
  socket: string;
  /** Saved memory, on the host. */
  memoryFile?: string;
}

export async function readRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<RunNote | undefined> {
  const text = await readMetadata(connection, dom, place);
  if (text === undefined) return undefined;
  try {
    const note = JSON.parse(text) as RunNote;
    if (note.version === 1 && typeof note.run === 'string' && typeof note.process.pid === 'number')
      return note;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof TypeError)) throw error;
  }
  throw new PrimaError(
    'newer-version',
    `${dom.name}: another version of Prima left a note of what it does there; use that version, or remove it (virsh metadata ${dom.name} ${place.uri} --live --remove)`,
  );
}

export async function writeRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RunNote,
): Promise<void> {
  await writeMetadata(connection, dom, place, JSON.stringify(note));
}

/** Where the machine has ended there is nothing to remove; another run's note stays. */
export async function removeRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  run: string,
): Promise<void> {
  if ((await readRunNote(connection, dom))?.run !== run) return;
  await writeMetadata(connection, dom, place, undefined);
}
