/** Takes a recovery back: the machine goes, with what was made for it. */
import { dirname } from 'node:path';
import { liveness, toPrimaError } from '@prima/base';
import { type Domain as DomainRef, type LibvirtConnection, UndefineFlags } from '@prima/libvirt';
import { deleteHostFile } from '../host-files.ts';
import { machineState } from '../power.ts';
import { readRecoveryNote, type RecoveryNote } from './note.ts';

const endTimeoutMs = 120_000;

/** From any half-done state; may be called again. */
export async function removeRecovery(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RecoveryNote,
): Promise<void> {
  const state = await machineState(connection, dom);
  if (state === 'running' || state === 'paused') {
    await connection.call('domainDestroyFlags', { dom }, { timeoutMs: endTimeoutMs });
  }
  // files first: the machine is what remembers them
  for (const { overlay, final } of note.disks) {
    await deleteFile(connection, overlay);
    if (final?.isFile === true) await deleteFile(connection, final.path);
    else if (final) await deleteVolume(connection, final.path);
  }
  const flags =
    UndefineFlags.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
    UndefineFlags.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
    UndefineFlags.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA |
    UndefineFlags.VIR_DOMAIN_UNDEFINE_NVRAM;
  await unlessGone(connection.call('domainUndefineFlags', { dom, flags }));
}

/** Where `dom`'s recovery was being made by a process that is dead; answers in words, or undefined. */
export async function removeUnfinished(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<string | undefined> {
  const note = await readRecoveryNote(connection, dom);
  if (!note?.maker || (await liveness(note.maker)) !== 'dead') return undefined;
  await removeRecovery(connection, dom, note);
  return `the unfinished machine ${dom.name} of a recovery that died is removed`;
}

/** Its folder may be gone, too. */
export async function deleteFile(connection: LibvirtConnection, path: string): Promise<void> {
  if (dirname(path) !== '.') await unlessGone(deleteHostFile(connection, path));
}

async function deleteVolume(connection: LibvirtConnection, path: string): Promise<void> {
  await unlessGone(
    connection
      .call('storageVolLookupByPath', { path })
      .then(({ vol }) => connection.call('storageVolDelete', { vol })),
  );
}

async function unlessGone(task: Promise<unknown>): Promise<void> {
  try {
    await task;
  } catch (error) {
    if (toPrimaError(error, 'removing').code !== 'not-found') throw error;
  }
}
