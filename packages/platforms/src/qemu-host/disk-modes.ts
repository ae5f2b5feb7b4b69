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

/** The mode's log of an earlier run. */
export interface LeftLog {
  /** The kind of mode that it was made for; undefined where its record does not say. */
  mode?: string;
}

/**
 * Before a run. Raises `state` when a person has to say what becomes of a log: an undoable disk's, or one that another mode promised
 * to keep.
 */
export function stepsBeforeRun(
  disk: { name: string; mode: DiskMode; left?: LeftLog },
  choice: RedoChoice | undefined,
): ModeStep[] {
  const { mode, left, name } = disk;
  if (mode.kind === 'persistent') return [];
  if (!left) return ['add'];
  if (mode.kind === 'append') return [];
  if (mode.kind === 'nonpersistent' && left.mode === 'nonpersistent') return ['discard', 'add'];
  if (mode.kind === 'undoable' && choice === 'append') return [];
  if (choice === 'commit' || choice === 'discard') return [choice, 'add'];
  const choices = '--redo commit (keep what was written), discard (undo it)';
  throw new PrimaError(
    'state',
    mode.kind === 'undoable'
      ? `${name} is undoable and has the redo log of an earlier run: start it with ${choices}, or append (go on)`
      : `${name} is nonpersistent now, and has the redo log of an earlier run, when it was ${left.mode ?? 'in another mode, perhaps'}: it is ` +
          `kept until you say what becomes of it. Start it with ${choices}`,
  );
}

/** After a run. What another mode promised to keep stays. */
export function stepsAfterRun(
  { mode, left }: { mode: DiskMode; left?: LeftLog },
  choice: RedoChoice | undefined,
): ModeStep[] {
  if (!left) return [];
  if (mode.kind === 'nonpersistent') return left.mode === 'nonpersistent' ? ['discard'] : [];
  if (mode.kind === 'undoable' && (choice === 'commit' || choice === 'discard')) return [choice];
  return [];
}
