/** What a person names where a machine or a disk file may stand: HOST/MACHINE, a folder or .vmx, a file. */
import { UserError } from '@prima/base';
import { parseSource } from '@prima/engine';
import { type Machine, openFolder, type Platform } from '@prima/platforms';
import type { Call, Context } from './context.ts';

export interface MachineTarget {
  kind: 'machine';
  platform: Platform;
  machine: Machine;
  /** The host's name, where it is a registered one. */
  host?: string;
}

export type Target = MachineTarget | { kind: 'file'; path: string };

/** Raises `not-found`, `ambiguous`, and `unsupported` for packages and exports. */
export async function findTarget(context: Context, text: string, { signal, logger }: Call): Promise<Target> {
  const source = await parseSource(text, await context.hosts.list());
  for (const note of source.notes) logger.info(note);
  switch (source.kind) {
    case 'disk-file':
      return { kind: 'file', path: source.path };
    case 'folder':
      return { kind: 'machine', ...(await openFolder(source.vmx)) };
    case 'machine': {
      const platform = await context.platform(source.host);
      const machine = await platform.find(source.machine, signal);
      return { kind: 'machine', platform, machine, host: source.host };
    }
    case 'package':
      throw new UserError(
        'unsupported',
        `${text} is a package of a machine; import it first (prima machine import)`,
      );
    case 'nbd':
      throw new UserError('unsupported', `${text} is an NBD export; name a machine or a disk file`);
  }
}

/** Raises `usage` for a file besides. */
export async function findMachineTarget(context: Context, text: string, call: Call): Promise<MachineTarget> {
  const target = await findTarget(context, text, call);
  if (target.kind === 'machine') return target;
  throw new UserError('usage', `${text} is a disk file; name a machine (HOST/MACHINE), its folder or .vmx`);
}
