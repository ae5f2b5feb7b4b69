/** A rollback point as people and the next command need it. */
import { liveness } from '@prima/base';
import type { RollbackPoint } from '../../rollback.ts';
import type { Domain } from '../domain.ts';
import type { RollbackNote } from './note.ts';

export async function describeRollback(note: RollbackNote, domain: Domain): Promise<RollbackPoint> {
  const { id, made, phase, quiesced, disks } = note;
  return {
    id,
    machine: domain.name,
    made,
    phase,
    quiesced,
    disks: disks.map(({ target, base, overlay }) => ({ disk: target, base, overlay })),
    notes: [...(await whatNext(note)), ...notCovered(note, domain)],
  };
}

async function whatNext({ phase, process }: RollbackNote): Promise<string[]> {
  if (phase === 'open') return [];
  const state = process ? await liveness(process) : 'dead';
  const who = process ? `process ${process.pid} of ${process.host}` : 'whoever was at it';
  if (state === 'alive') return [`${who} is at it`];
  const fate = state === 'dead' ? 'did not get to its end' : 'cannot be asked whether it lives';
  const next = {
    beginning: 'keep or undo removes what it made, and nothing is lost',
    keeping: 'keep finishes it',
    undoing: 'undo finishes it',
  }[phase];
  return [`${who} was ${phase} it, and ${fate}: ${next}`];
}

function notCovered({ nvram, quiesced }: RollbackNote, domain: Domain): string[] {
  return [
    ...(quiesced ? [] : ['the disks are as after a power failure: the guest was not frozen, or it was off']),
    ...(nvram ? ["the firmware's variables are kept, as its file had them at that moment"] : []),
    ...(domain.hasTpm ? ["the emulated TPM's state is not: undo leaves it as it is then"] : []),
    'memory is not kept: undo starts the machine anew',
  ];
}
