/** What a collection does about damage: it makes none worse, and frees what has been mended. See "Damage" of the format. */
import type { Context } from '../context.ts';
import { readDamagedLists } from '../damage/lists.ts';
import type { DamageEntry } from '../damage/register.ts';
import { idFromHex } from '../format/hex-id.ts';
import { deleteUnlessKept } from '../session/sessions.ts';
import type { Plan } from './collect-plan.ts';
import type { Survey } from './survey.ts';

/** Takes from the plan what must stay because of damage that was found since it was made, and says what stays. */
export function spareDamaged(plan: Plan, { index, spoilt, hidden, nowhere, heldUntil }: Survey): string[] {
  const notes: string[] = [];
  for (const number of spoilt) {
    const name = index.packs[number]?.name ?? '';
    plan.dead.delete(name);
    plan.rewrite.delete(name);
  }
  if (spoilt.size > 0) {
    notes.push(
      `${spoilt.size} damaged packs are kept as they are: points need what was in them; the next backup mends what the source still has`,
    );
  }
  const [first] = hidden;
  if (first || heldUntil > 0) {
    plan.dead.clear();
    plan.rewrite.clear();
    plan.later.length = 0;
  }
  if (heldUntil > 0) {
    notes.push(
      `nothing that any backup stored is freed until ${new Date(heldUntil).toISOString()}: a repair gave restore points up, of which the data is kept; prima repair --keep 0s --yes ends that`,
    );
  }
  if (first) {
    notes.push(
      `nothing that any backup stored is freed: ${hidden.length} pages cannot be read (the first is of ${first.disk} of point ${first.point}), and what they refer to is unknown; back the machine up, or forget these points`,
    );
  }
  if (nowhere > 0) {
    plan.orphans.clear();
    notes.push(
      `packs of sessions that never ended are kept: ${nowhere} blobs that points need are in no pack of the index and may be in these; see prima check --rebuild-index`,
    );
  }
  return notes;
}

/** Deletes the damaged lists that say nothing any more, once the packs in `gone` are deleted. */
export async function deleteSpentLists(
  context: Context,
  { index, live, hidden }: Survey,
  gone: ReadonlySet<string>,
): Promise<void> {
  const isSpent = ({ pack, ids }: DamageEntry): boolean => {
    if (pack !== undefined) return gone.has(pack) || !index.hasPack(pack);
    if (ids === 'all' || hidden.length > 0) return false;
    return ids.every((hex) => !live.has(idFromHex(hex)) || !index.isLost(idFromHex(hex)));
  };
  for (const { key, list } of (await readDamagedLists(context)).lists) {
    if (list.entries.every(isSpent)) await deleteUnlessKept(context, key);
  }
}
