/**
 * What is known of a machine's rollback point, in the metadata of its configuration (docs/operating/libvirt.md), written before anything is
 * done: so any Prima can tell what is there, finish it or take it back.
 */
import { FormatError, type ProcessIdentity, PrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import type { RollbackPoint } from '../../rollback.ts';
import { type MetadataPlace, readMetadata, writeMetadata } from '../metadata.ts';

/** The namespace of the element, by which libvirt finds it. */
export const rollbackUri = 'urn:prima:rollback:1';
const place: MetadataPlace = {
  uri: rollbackUri,
  key: 'prima-rollback',
  element: 'rollback',
  where: 'config',
};

export interface NotedOverlay {
  /** `vda` */
  target: string;
  base: string;
  format: string;
  overlay: string;
}

export interface RollbackNote {
  version: 1;
  id: string;
  /** The machine's UUID: a copy of its XML under another is not it. */
  machine: string;
  made: string;
  phase: RollbackPoint['phase'];
  /** Who is at it, in every phase but `open`. */
  process?: ProcessIdentity;
  quiesced: boolean;
  /** It ran when it was undone, and is to run again. */
  restarts?: boolean;
  disks: NotedOverlay[];
  /** The variables of its firmware, and the copy of them. */
  nvram?: { path: string; copy: string };
}

/** Undefined where there is none, also for a machine that is not persistent. */
export async function readRollbackNote(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<RollbackNote | undefined> {
  const text = await readMetadata(connection, dom, place);
  if (text === undefined) return undefined;
  const note = parseRollbackNote(text, dom.name);
  return note.machine === dom.uuid ? note : undefined;
}

/** Raises `format`, `newer-version`. It names files that are deleted: only what Prima would have named is believed. */
export function parseRollbackNote(text: string, machine: string): RollbackNote {
  const fault = `${machine}: the note of its rollback point is not what Prima writes: ${text.slice(0, 200)}`;
  let note: Partial<RollbackNote>;
  try {
    note = (JSON.parse(text) ?? {}) as Partial<RollbackNote>;
  } catch (error) {
    throw new FormatError(fault, { cause: error });
  }
  if (typeof note.version === 'number' && note.version > 1) {
    throw new PrimaError(
      'newer-version',
      `${machine}: a newer version of Prima made its rollback point; use that version`,
    );
  }
  const { version, id, machine: uuid, made, phase, disks, nvram } = note;
  const isSound =
    version === 1 &&
    typeof id === 'string' &&
    /^[0-9a-f]{8}$/.test(id) &&
    typeof uuid === 'string' &&
    typeof made === 'string' &&
    ['beginning', 'open', 'keeping', 'undoing'].includes(phase ?? '') &&
    Array.isArray(disks) &&
    disks.every((disk: unknown) => isOverlay(disk, id)) &&
    isNvram(nvram, id);
  if (isSound) return note as RollbackNote;
  throw new FormatError(fault);
}

function isOverlay(disk: unknown, id: string): boolean {
  const { target, base, format, overlay } = (disk ?? {}) as Partial<Record<keyof NotedOverlay, unknown>>;
  if (typeof target !== 'string' || typeof base !== 'string' || typeof format !== 'string') return false;
  return !target.includes('/') && overlay === overlayPath(base, id, target);
}

function isNvram(nvram: unknown, id: string): boolean {
  if (nvram === undefined) return true;
  const { path, copy } = (nvram ?? {}) as Partial<Record<'path' | 'copy', unknown>>;
  return typeof path === 'string' && copy === nvramCopyPath(path, id);
}

/** Beside the disk. */
export function overlayPath(base: string, id: string, target: string): string {
  return `${base.slice(0, base.lastIndexOf('/'))}/prima-rollback-${id}-${target}.qcow2`;
}

export function nvramCopyPath(path: string, id: string): string {
  return `${path}.prima-rollback-${id}`;
}

/** Undefined removes it. */
export async function writeRollbackNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RollbackNote | undefined,
): Promise<void> {
  await writeMetadata(connection, dom, place, note && JSON.stringify(note));
}

/** Raises `busy` for a machine with a rollback point. */
export async function checkNoRollback(
  connection: LibvirtConnection,
  dom: DomainRef,
  what: string,
): Promise<void> {
  const note = await readRollbackNote(connection, dom);
  if (!note) return;
  throw new PrimaError(
    'busy',
    `${dom.name} has a rollback point of ${note.made} and cannot be ${what}: end it (prima machine rollback keep or undo HOST/${dom.name})`,
  );
}
