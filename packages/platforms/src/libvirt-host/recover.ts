/** Finds what dead processes of ours left on a libvirt host, and undoes it. */
import { liveness, toPrimaError } from '@prima/base';
import { DestroyFlags, type Domain as DomainRef, type LibvirtConnection } from '@prima/libvirt';
import type { Recovery } from '../platform.ts';
import { parseDomain } from './domain.ts';
import { filesInUse } from './files-in-use.ts';
import { deleteHostFile } from './host-files.ts';
import { checkNoJob } from './job.ts';
import { removeUnfinished } from './recovery/removal.ts';
import { dropUntaken } from './rollback/begin.ts';
import { readRollbackNote } from './rollback/note.ts';
import { deadStandIn, isStandIn, undefineStandIn } from './stand-in.ts';
import { undoLeftRun } from './undo.ts';

export async function recoverHost(connection: LibvirtConnection): Promise<Recovery[]> {
  const recoveries: Recovery[] = [];
  const { domains } = await connection.call('connectListAllDomains', {});
  for (const dom of domains) {
    const recovery: Recovery = { machine: dom.name, undone: [], left: [] };
    try {
      if (isStandIn(dom.name)) recovery.undone.push(...(await removeStandIn(connection, dom)));
      else {
        if (dom.id >= 0) recovery.undone.push(...(await undoLeftRun(connection, dom)));
        const unfinished = await removeUnfinished(connection, dom);
        if (unfinished !== undefined) recovery.undone.push(unfinished);
        const untaken = await removeUntaken(connection, dom);
        if (untaken !== undefined) recovery.undone.push(untaken);
      }
    } catch (error) {
      const { code, message } = toPrimaError(error, `recovering ${dom.name}`);
      if (connection.failure) throw error;
      if (code !== 'busy' && code !== 'not-found') recovery.left.push(message);
    }
    if (recovery.undone.length + recovery.left.length > 0) recoveries.push(recovery);
  }
  return recoveries;
}

/** A rollback point whose process died before it was taken; those that were are finished by who asked for them. */
async function removeUntaken(connection: LibvirtConnection, dom: DomainRef): Promise<string | undefined> {
  const note = await readRollbackNote(connection, dom);
  if (note?.phase !== 'beginning' || !note.process || (await liveness(note.process)) !== 'dead')
    return undefined;
  if (dom.id >= 0) await checkNoJob(connection, dom); // the daemon may still be at it
  if (!(await dropUntaken(connection, dom, note))) return undefined;
  return `a rollback point of ${dom.name} had not been taken: what was made for it is removed`;
}

/** With the disks that were being made, unless a machine has them by now, or an overlay over them. */
async function removeStandIn(connection: LibvirtConnection, dom: DomainRef): Promise<string[]> {
  const kind = await deadStandIn(dom.name);
  if (kind === undefined) return [];
  if (dom.id >= 0) {
    const flags = DestroyFlags.VIR_DOMAIN_DESTROY_GRACEFUL;
    await connection.call('domainDestroyFlags', { dom, flags }, { timeoutMs: 120_000 });
  }
  if (kind === 'reading') return [`the stand-in ${dom.name} of a backup that died is ended`];
  const used = await filesInUse(connection);
  const undone: string[] = [];
  for (const { location, source } of await disksOf(connection, dom)) {
    if (await used.has(location)) continue;
    if (source !== 'file')
      undone.push(`the unfinished ${location} is left: it is no file (virsh vol-delete)`);
    else if (await deleteHostFile(connection, location)) undone.push(`the unfinished ${location} is removed`);
  }
  await undefineStandIn(connection, dom);
  return [...undone, `the stand-in ${dom.name} of a restore that died is removed`];
}

async function disksOf(connection: LibvirtConnection, dom: DomainRef) {
  const { xml } = await connection.call('domainGetXmlDesc', { dom });
  return parseDomain(xml, dom.name).disks;
}
