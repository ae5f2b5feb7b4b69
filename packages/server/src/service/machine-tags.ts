/** Words that people give machines, for policies to choose by. They belong to the machine's own id: it keeps them on another host. */
import type { Kysely } from 'kysely';
import type { Tables } from '../state/tables.ts';

/** By machine's id, sorted; machines without any are not in it. @param ids only of these */
export async function tagsByMachine(
  db: Kysely<Tables>,
  organisation: string,
  ids?: readonly string[],
): Promise<ReadonlyMap<string, string[]>> {
  let query = db
    .selectFrom('machine_tag')
    .select(['machine_id', 'tag'])
    .where('organisation_id', '=', organisation)
    .orderBy('tag');
  if (ids !== undefined) {
    if (ids.length === 0) return new Map();
    query = query.where('machine_id', 'in', ids);
  }
  const tags = new Map<string, string[]>();
  for (const { machine_id, tag } of await query.execute())
    tags.set(machine_id, [...(tags.get(machine_id) ?? []), tag]);
  return tags;
}

/** These and no others. */
export async function setTags(
  db: Kysely<Tables>,
  { organisation, machine }: { organisation: string; machine: string },
  tags: readonly string[],
): Promise<void> {
  await db.transaction().execute(async (change) => {
    await change
      .deleteFrom('machine_tag')
      .where('organisation_id', '=', organisation)
      .where('machine_id', '=', machine)
      .execute();
    const rows = [...new Set(tags)].map((tag) => ({
      organisation_id: organisation,
      machine_id: machine,
      tag,
    }));
    if (rows.length > 0) await change.insertInto('machine_tag').values(rows).execute();
  });
}
