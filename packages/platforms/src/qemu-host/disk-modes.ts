/** `SLOT.mode` of a .vmx, and what it asks for at the start and the end of a run (docs/format/redo-log.md). */
import { PrimaError } from '@prima/base';
import type { DiskMode, RedoChoice } from '../platform.ts';

const kinds = ['nonpersistent', 'undoable', 'append'] as const;

/** Unknown modes are VMware's default: nothing is lost in it. */
export function diskMode(text: string): DiskMode {
  const plain = text.trim().toLowerCase();
  const independent = plain.startsWith('independent-') || plain === 'independent';
  const name = plain.replace(/^independent-?/, '');
  return { kind: kinds.find((kind) => kind === name) ?? 'persistent', independent };
}

/** What is done to the logs that the mode made. */
export type ModeStep = 'discard' | 'commit' | 'add';

/**
 * Before a run. Raises `state` when a person has to say what becomes of an undoable disk's log.
 * @param left the mode's log from an earlier run is there
 */
export function stepsBeforeRun(
  disk: { name: string; mode: DiskMode; left: boolean },
  choice: RedoChoice | undefined,
): ModeStep[] {
  const { mode, left, name } = disk;
  if (mode.kind === 'persistent') return [];
  if (!left) return ['add'];
  if (mode.kind === 'append') return [];
  if (mode.kind === 'nonpersistent') return ['discard', 'add'];
  if (choice === 'append') return [];
  if (choice === 'commit' || choice === 'discard') return [choice, 'add'];
  throw new PrimaError(
    'state',
    `${name} is undoable and has the redo log of an earlier run: start it with --redo commit (keep what was written), ` +
      'discard (undo it), or append (go on)',
  );
}

/** After a run. */
export function stepsAfterRun(
  { mode, left }: { mode: DiskMode; left: boolean },
  choice: RedoChoice | undefined,
): ModeStep[] {
  if (!left) return [];
  if (mode.kind === 'nonpersistent') return ['discard'];
  if (mode.kind === 'undoable' && (choice === 'commit' || choice === 'discard')) return [choice];
  return [];
}
