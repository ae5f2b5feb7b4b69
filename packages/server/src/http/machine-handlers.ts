/** The machines of all hosts: lists in pages, one of them, their tags. */
import type { MachineRow, Problem } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import type { Selectable } from 'kysely';
import { setTags, tagsByMachine } from '../service/machine-tags.ts';
import type { Service } from '../service/service.ts';
import { isProtection, protectionAt, reckonStanding } from '../service/standing.ts';
import type { Tables } from '../state/tables.ts';
import { likeWords, pageOf, readCursor } from './cursor.ts';
import type { Handlers } from './handler.ts';

export const machineHandlers: Handlers<'listMachines' | 'getMachine' | 'tagMachine'> = {
  listMachines: async ({ service, organisation, query }) => {
    const { limit, cursor, q, host, protection, tag } = query;
    const { db } = service.state;
    const now = new Date(service.clock.now()).toISOString();
    const all = () => {
      let rows = db.selectFrom('machine').where('machine.organisation_id', '=', organisation);
      if (host !== undefined) rows = rows.where('host', '=', host);
      if (q !== undefined && q !== '') rows = rows.where('name', 'like', `%${likeWords(q)}%`);
      if (protection !== undefined) rows = rows.where(isProtection(now, protection));
      if (tag !== undefined)
        rows = rows.where('machine_id', 'in', (tags) =>
          tags
            .selectFrom('machine_tag')
            .select('machine_tag.machine_id')
            .where('machine_tag.organisation_id', '=', organisation)
            .where('machine_tag.tag', '=', tag),
        );
      return rows;
    };
    const [afterName, afterHost] = readCursor(cursor, 2);
    let page = all()
      .selectAll()
      .select(protectionAt(now).as('protection'))
      .orderBy('name')
      .orderBy('host')
      .limit(limit + 1);
    if (afterName !== undefined && afterHost !== undefined)
      page = page.where((is) =>
        is.or([is('name', '>', afterName), is.and([is('name', '=', afterName), is('host', '>', afterHost)])]),
      );
    const found = await page.execute();
    const { count } = await all()
      .select((is) => is.fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    const { rows, next } = pageOf(found, limit, (last) => [last.name, last.host]);
    const ids = rows.map(({ machine_id }) => machine_id);
    const tags = await tagsByMachine(db, organisation, ids);
    return { items: rows.map((row) => machineDto(row, tags)), total: Number(count), ...next };
  },
  getMachine: async ({ service, organisation, path }) => {
    const { row, tags } = await machineOf(service, organisation, path);
    const { disks, notes } = JSON.parse(row.detail) as {
      disks: { name: string; path: string; format: string; size: number; excluded?: string }[];
      notes: string[];
    };
    return { ...machineDto(row, tags), diskList: disks, notes };
  },
  tagMachine: async ({ service, organisation, path, body, note }) => {
    const { db } = service.state;
    const { row } = await machineOf(service, organisation, path);
    note(`${row.host}/${row.name}`, { tags: body.tags });
    await setTags(db, { organisation, machine: row.machine_id }, body.tags);
    await reckonStanding(db, organisation);
    const after = await machineOf(service, organisation, path);
    return machineDto(after.row, after.tags);
  },
};

type Row = Selectable<Tables['machine']> & { protection: MachineRow['protection'] };

async function machineOf(
  { state, clock }: Service,
  organisation: string,
  { host = '', id = '' }: Record<string, string>,
): Promise<{ row: Row; tags: ReadonlyMap<string, string[]> }> {
  const row = await state.db
    .selectFrom('machine')
    .selectAll()
    .select(protectionAt(new Date(clock.now()).toISOString()).as('protection'))
    .where('organisation_id', '=', organisation)
    .where('host', '=', host)
    .where('name', '=', id)
    .executeTakeFirst();
  if (!row) throw new PrimaError('not-found', `there is no machine ${host}/${id}; refresh its host`);
  return { row, tags: await tagsByMachine(state.db, organisation, [row.machine_id]) };
}

function machineDto(row: Row, tags: ReadonlyMap<string, string[]>): MachineRow {
  return {
    id: `${row.host}/${row.name}`,
    name: row.name,
    host: row.host,
    machineId: row.machine_id,
    state: row.state,
    memoryBytes: row.memory,
    cpus: row.cpus,
    diskBytes: row.disk_bytes,
    disks: row.disks,
    agent: row.agent,
    seen: row.seen,
    isGone: row.gone === 1,
    protection: row.protection,
    policies: JSON.parse(row.policies) as string[],
    tags: tags.get(row.machine_id) ?? [],
    ...(row.promise_hours > 0 ? { promiseHours: row.promise_hours } : {}),
    ...(row.last_point === null ? {} : { lastPoint: row.last_point }),
    points: row.points,
    ...(row.last_error === null ? {} : { lastError: JSON.parse(row.last_error) as Problem }),
  };
}
