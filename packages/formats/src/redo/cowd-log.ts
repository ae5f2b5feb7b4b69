/** Redo logs of VMDKs, all by our own code: a COWD extent and its descriptor (vmfsSparse), as ESX makes them. */
import { basename, dirname } from 'node:path';
import { PrimaError } from '@prima/base';
import { createVmdk } from '../vmdk/create-vmdk.ts';
import { changeDescriptor, withCid } from '../vmdk/descriptor-write.ts';
import { readLinkText } from '../vmdk/link-text.ts';
import { localFolder } from '../vmdk/local-folder.ts';
import type { OpenMapping } from '../vmdk/open-extent.ts';
import { openVmdk } from '../vmdk/open-vmdk.ts';
import { rewriteDescriptor } from '../vmdk/rewrite-descriptor.ts';
import type { LogKind, LogPlace, OwnContent } from './log-kind.ts';

/** ESX 2 never had more than two. */
const mostLogs = 2;
/** Runs are asked for in pieces, so that each answer is short. */
const pieceBytes = 256 * 2 ** 20;

export interface CowdLogsOptions {
  /** For a disk that is a raw device mapping; see `OpenVmdkOptions`. */
  openMapping?: OpenMapping;
}

export function cowdLogs({ openMapping }: CowdLogsOptions = {}): LogKind {
  return {
    kind: 'cowd',
    limit: mostLogs,
    files: (name) => [name, `${name}-delta.vmdk`],
    create: async ({ log, beneath }, { signal } = {}) => {
      await createVmdk(log, { createType: 'vmfsSparse', parent: beneath, openMapping, signal });
    },
    isWhole,
    own: ownContent,
    openBeneath: async (path, { signal } = {}) =>
      (await openVmdk(path, { writable: true, renewCid: false, openMapping, signal })).device,
    close,
  };
}

async function isWhole(log: string): Promise<boolean> {
  const folder = localFolder([dirname(log)]);
  try {
    return (await readLinkText(log, folder)).descriptor !== undefined;
  } catch (error) {
    // its name is taken first and its text comes last
    if (error instanceof PrimaError && ['not-found', 'format'].includes(error.code)) return false;
    throw error;
  }
}

async function close({ log, beneath }: LogPlace, above: string | undefined): Promise<void> {
  const folder = localFolder([dirname(beneath)]);
  const { descriptor } = await readLinkText(log, folder);
  if (descriptor === undefined) throw new PrimaError('format', `${log} has no descriptor`);
  // beneath is from now on exactly what its child knows as its parent
  await rewriteDescriptor(beneath, folder, (old) => withCid(old, descriptor.cid));
  if (above === undefined) return;
  await rewriteDescriptor(above, folder, (old) =>
    changeDescriptor(old, { parentFileNameHint: basename(beneath) }),
  );
}

async function ownContent(log: string, { signal }: { signal?: AbortSignal } = {}): Promise<OwnContent> {
  const opened = await openVmdk(log, { parents: false, signal });
  const { device } = opened;
  return {
    size: device.size,
    runs: async function* (runSignal) {
      for (let offset = 0; offset < device.size; ) {
        const runs = await opened.ownRuns(offset, Math.min(pieceBytes, device.size - offset), runSignal);
        for (const { kind, ...range } of runs) {
          offset = range.offset + range.length;
          if (kind !== 'absent') yield { ...range, kind: kind === 'data' ? 'data' : 'zero' };
        }
      }
    },
    read: (offset, into, readSignal) => device.read(offset, into, readSignal),
    close: () => device.close(),
  };
}
