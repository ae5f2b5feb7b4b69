/**
 * What is known of a machine that runs from a repository, in the metadata of its configuration (docs/operating/instant-recovery.md), so
 * that any Prima can go on or take it back.
 */
import { FormatError, type ProcessIdentity, PrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { elementMaker, type XmlElement } from '@prima/xml';
import { type MetadataPlace, readMetadata, writeMetadata } from '../metadata.ts';

/** The namespace of the element, by which libvirt finds it. */
export const recoveryUri = 'urn:prima:recovery:1';
const prefix = 'prima-recovery';
const make = elementMaker({ [prefix]: recoveryUri });
const place = { uri: recoveryUri, key: prefix, element: 'recovery' } as const;

export interface NotedDisk {
  /** `vda`: in the machine's XML, and the name of its export. */
  target: string;
  /** Its name in the point. */
  disk: string;
  /** The qcow2 file over the export, which stays where `final` is absent. */
  overlay: string;
  /** What it is copied to. */
  final?: {
    /** A <disk> with driver and source. */
    xml: string;
    /** For people, and for libvirt to find the volume. */
    path: string;
    /** What the source names: see `DomainDisk`. */
    location: string;
    isFile: boolean;
  };
  /** What the machine's own configuration says: `error_policy`, `rerror_policy`. */
  errorPolicy?: string;
  readErrorPolicy?: string;
}

export interface RecoveryNote {
  version: 1;
  /** The process that makes it; gone when all is there. */
  maker?: ProcessIdentity;
  repository: string;
  point: string;
  /** Where the exports are. */
  socket: string;
  disks: NotedDisk[];
}

export function recoveryElement(note: RecoveryNote): XmlElement {
  return make(`${prefix}:recovery`, { [`xmlns:${prefix}`]: recoveryUri }, [JSON.stringify(note)]);
}

/** Undefined where the machine is not under recovery. */
export async function readRecoveryNote(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<RecoveryNote | undefined> {
  const text = await readMetadata(connection, dom, { ...place, where: 'config' });
  return text === undefined ? undefined : parseNote(text, dom.name);
}

/** Written by whoever may change the machine: so it names files of the host that libvirt lets them remove anyway. */
function parseNote(text: string, machine: string): RecoveryNote {
  let note: Partial<RecoveryNote>;
  try {
    note = JSON.parse(text) as Partial<RecoveryNote>;
  } catch (error) {
    throw new FormatError(`${machine}: the note of its recovery is no JSON: ${text.slice(0, 80)}`, {
      cause: error,
    });
  }
  if (note.version !== 1) {
    throw new PrimaError(
      'newer-version',
      `${machine}: another version of Prima recovers it; go on with that version`,
    );
  }
  const { repository, point, socket, disks } = note;
  const areTexts = [repository, point, socket].every((value) => typeof value === 'string');
  const areDisks = Array.isArray(disks) && disks.every(isDisk);
  if (areTexts && areDisks) return note as RecoveryNote;
  throw new FormatError(
    `${machine}: the note of its recovery is not what Prima writes: ${text.slice(0, 200)}`,
  );
}

function isDisk({ target, disk, overlay, final }: Partial<NotedDisk>): boolean {
  const texts: unknown[] = [target, disk, overlay, ...(final ? [final.xml, final.path, final.location] : [])];
  return texts.every((value) => typeof value === 'string');
}

/** Where libvirt has the machine running only (`live`), or defined (`config`); undefined removes it. */
export async function writeRecoveryNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RecoveryNote | undefined,
  where: MetadataPlace['where'],
): Promise<void> {
  await writeMetadata(connection, dom, { ...place, where }, note && JSON.stringify(note));
}

/** Raises `busy` for a machine under recovery. */
export async function checkNotRecovering(
  connection: LibvirtConnection,
  dom: DomainRef,
  what: string,
): Promise<void> {
  const note = await readRecoveryNote(connection, dom);
  if (!note) return;
  throw new PrimaError(
    'busy',
    `${dom.name} runs from the restore point ${note.point.slice(0, 12)} and cannot be ${what}: let its recovery end ` +
      `(prima recover --resume HOST/${dom.name}) or take it back (prima recover --cancel HOST/${dom.name})`,
    { retryable: true },
  );
}
