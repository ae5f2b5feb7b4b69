/** Hosts, machines, repositories, points, settings, the overview. */
import { randomUUID } from 'node:crypto';
import type { HostTestResult, MachineDto } from '@prima/api';
import type { Host, PointRow, Problem, thingEndpoints } from '@prima/api/http';
import { PrimaError } from '@prima/base';
import type { Selectable } from 'kysely';
import { createApplication } from '../application.ts';
import { overviewOf } from '../service/overview.ts';
import { describeRepositories, describeRepository, withoutSecret } from '../service/repositories.ts';
import type { Service } from '../service/service.ts';
import { readSettings, writeSettings } from '../service/settings.ts';
import { reckonStanding } from '../service/standing.ts';
import { secretOfRepository } from '../service/tenants.ts';
import { callAtWorker } from '../service/worker-calls.ts';
import type { Tables } from '../state/tables.ts';
import { checkMayNamePaths } from './access.ts';
import { likeWords, pageOf, readCursor } from './cursor.ts';
import type { Handlers } from './handler.ts';
import { machineHandlers } from './machine-handlers.ts';

export const thingHandlers: Handlers<keyof typeof thingEndpoints> = {
  getOverview: ({ service, organisation }) => overviewOf(service, organisation),
  listHosts: async ({ service, organisation }) => ({ items: await hostsOf(service, organisation) }),
  addHost: async ({ service, organisation, caller, body, note }) => {
    note(body.name, { ...body });
    if (body.platform === 'qemu' || !/^qemu\+(ssh|tls|tcp):/.test(body.location)) checkMayNamePaths(caller);
    await service.workers.checkFree(organisation, body.name);
    await (await service.tenants.of(organisation)).hostAdd(body);
    await refreshHost(service, organisation, body.name).catch(() => undefined); // it is noted, and told with the host
    return hostOf(service, organisation, body.name);
  },
  testHost: async ({ service, organisation, path, caller, signal }) => {
    const name = path['id'] ?? '';
    const { ok, checks } = (await service.workers.hostAt(organisation, name))
      ? ((await callAtWorker(service, {
          organisation,
          host: name,
          name: 'hostTest',
          request: { name },
          summary: `test host ${name}`,
          requestedBy: caller.name,
          signal,
        })) as HostTestResult)
      : await (await service.tenants.of(organisation)).hostTest({ name });
    return { ok, checks };
  },
  removeHost: async ({ service, organisation, path, note }) => {
    const name = path['id'] ?? '';
    note(name);
    const at = await service.workers.hostAt(organisation, name);
    if (at)
      throw new PrimaError(
        'refused',
        `"${name}" is a host of the worker ${at.worker}; remove it there, with prima host remove`,
      );
    await (await service.tenants.of(organisation)).hostRemove({ name });
    await service.inventory.forgetHost(organisation, name);
  },
  refreshInventory: async ({ service, organisation, path, caller, signal }) => {
    const host = path['id'] ?? '';
    const { worker } = await hostOf(service, organisation, host);
    if (worker === undefined) await refreshHost(service, organisation, host);
    else {
      const machines = await callAtWorker(service, {
        organisation,
        host,
        name: 'machineList',
        request: { host },
        summary: `read the machines of ${host}`,
        requestedBy: caller.name,
        signal,
      });
      await service.inventory.take(organisation, host, { machines: machines as MachineDto[] });
      await reckonStanding(service.state.db, organisation);
    }
    return hostOf(service, organisation, path['id'] ?? '');
  },
  ...machineHandlers,
  listRepositories: async ({ service, organisation }) => ({
    items: await describeRepositories(service, organisation),
  }),
  addRepository: async ({ service, organisation, caller, body, note }) => {
    const { name, url, passphrase, create } = body;
    note(name, { url: withoutSecret(url), create });
    if (!/^(s3|sftp):/.test(url)) checkMayNamePaths(caller);
    const { state, sealer, clock, tenants, catalogue, logger } = service;
    const taken = (await tenants.repositories(organisation)).some(
      (row) => row.name === name || row.url === url,
    );
    if (taken) throw new PrimaError('exists', 'there is a repository of this name or at this place already');
    const application = await createApplication({
      home: tenants.homeOf(organisation),
      repository: url,
      secret: async () => ({ kind: 'passphrase', text: passphrase }),
      logger,
    });
    let words: string[] | undefined;
    try {
      if (create) ({ words } = await application.init({ recovery: true }));
      else await application.status();
    } finally {
      await application.close();
    }
    const id = randomUUID();
    const row = {
      id,
      organisation_id: organisation,
      name,
      url,
      secret: sealer.seal(passphrase, secretOfRepository(id)),
      created: new Date(clock.now()).toISOString(),
      looked: null,
      checked: null,
      stored: null,
      free: null,
      error: null,
      limits: '{}',
    };
    await state.db.insertInto('repository').values(row).execute();
    await catalogue.refresh(row).catch(() => undefined); // it is noted, and told with the repository
    await reckonStanding(state.db, organisation);
    const described = await describeRepository(service, await tenants.repository(organisation, name));
    return { ...described, ...(words ? { recovery: words.join(' ') } : {}) };
  },
  limitRepository: async ({ service, organisation, path, body, note }) => {
    const { state, tenants } = service;
    const row = await repositoryOf(service, organisation, path['id'] ?? '');
    note(row.name, body);
    // it is opened anew with them, which would end what runs
    const running = (await service.jobs.running()).filter((job) => job.organisation_id === organisation);
    if (running.some(({ repository }) => repository === null || repository === row.name))
      throw new PrimaError('busy', `jobs run in ${row.name}; set its limits when they have ended`, {
        retryable: true,
      });
    await state.db
      .updateTable('repository')
      .set({ limits: JSON.stringify(body) })
      .where('id', '=', row.id)
      .execute();
    await tenants.forget(row.id);
    return describeRepository(service, await repositoryOf(service, organisation, row.id));
  },
  removeRepository: async ({ service, organisation, path, note }) => {
    const row = await repositoryOf(service, organisation, path['id'] ?? '');
    note(row.name);
    const policies = await service.policies.list(organisation);
    const using = policies.filter(({ repository, copyTo }) => repository === row.name || copyTo === row.name);
    if (using.length > 0)
      throw new PrimaError(
        'refused',
        `policies use it: ${using.map(({ name }) => name).join(', ')}; change them first`,
      );
    await service.state.db.deleteFrom('repository').where('id', '=', row.id).execute();
    await service.tenants.forget(row.id);
    await reckonStanding(service.state.db, organisation);
  },
  refreshRepository: async ({ service, organisation, path }) => {
    const row = await repositoryOf(service, organisation, path['id'] ?? '');
    await service.catalogue.refresh(row);
    await reckonStanding(service.state.db, organisation);
    return describeRepository(service, await repositoryOf(service, organisation, row.id));
  },
  listPoints: async ({ service, organisation, query }) => {
    const { limit, cursor, repository, host, machine, q } = query;
    const [time, id] = readCursor(cursor, 2);
    let page = service.state.db
      .selectFrom('point')
      .innerJoin('repository', 'repository.id', 'point.repository_id')
      .selectAll('point')
      .select('repository.name as repository')
      .where('point.organisation_id', '=', organisation)
      .orderBy('point.time', 'desc')
      .orderBy('point.id')
      .limit(limit + 1);
    if (repository !== undefined) page = page.where('repository.name', '=', repository);
    if (host !== undefined) page = page.where('point.host', '=', host);
    if (machine !== undefined) page = page.where('point.machine', '=', machine);
    if (q !== undefined && q !== '') page = page.where('point.machine', 'like', `%${likeWords(q)}%`);
    if (time !== undefined && id !== undefined)
      page = page.where((is) =>
        is.or([is('point.time', '<', time), is.and([is('point.time', '=', time), is('point.id', '>', id)])]),
      );
    const found = await page.execute();
    const { rows, next } = pageOf(found, limit, (last) => [last.time, last.id]);
    return { items: rows.map(pointRow), ...next };
  },
  getPoint: async ({ service, organisation, path, query: { detail }, signal }) => {
    const row = await service.tenants.repository(organisation, path['repository'] ?? '');
    const application = await service.tenants.withRepository(row);
    const more = {
      point: {},
      disks: { partitions: true, map: true },
      verification: { verification: true },
    }[detail];
    return application.show({ point: path['id'] ?? '', ...more }, { signal });
  },
  getSettings: ({ service, organisation }) => readSettings(service.state.db, organisation),
  changeSettings: ({ service, organisation, body, note }) => {
    note(body.organisationName, { ...body });
    return writeSettings(service.state.db, organisation, body);
  },
};

async function refreshHost(service: Service, organisation: string, host: string): Promise<void> {
  await service.inventory.refresh(organisation, host);
  await reckonStanding(service.state.db, organisation);
}

async function hostsOf(service: Service, organisation: string): Promise<Host[]> {
  const { state, tenants, workers } = service;
  const own = await (await tenants.of(organisation)).hostList();
  const hosts = [...own, ...(await workers.hosts(organisation))];
  const states = await state.db
    .selectFrom('host_state')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .execute();
  const counts = await state.db
    .selectFrom('machine')
    .where('organisation_id', '=', organisation)
    .where('gone', '=', 0)
    .groupBy('host')
    .select(['host', (is) => is.fn.countAll().as('count')])
    .execute();
  return hosts.map((host) => {
    const known = states.find(({ name }) => name === host.name);
    return {
      ...host,
      machines: Number(counts.find((row) => row.host === host.name)?.count ?? 0),
      ...(known?.seen ? { seen: known.seen } : {}),
      ...(known?.error ? { error: JSON.parse(known.error) as Problem } : {}),
    };
  });
}

async function hostOf(service: Service, organisation: string, name: string): Promise<Host> {
  const found = (await hostsOf(service, organisation)).find((host) => host.name === name);
  if (found) return found;
  throw new PrimaError('not-found', `there is no host "${name}"`);
}

async function repositoryOf({ tenants }: Service, organisation: string, id: string) {
  const found = (await tenants.repositories(organisation)).find((row) => row.id === id);
  if (found) return found;
  throw new PrimaError('not-found', 'there is no such repository');
}

function pointRow(row: Selectable<Tables['point']> & { repository: string }): PointRow {
  return {
    id: row.id,
    repository: row.repository,
    machine: row.machine,
    machineId: row.machine_id,
    ...(row.host === null ? {} : { host: row.host }),
    time: row.time,
    mode: row.mode as PointRow['mode'],
    quiesced: row.quiesced === 1,
    ...(row.name === null ? {} : { name: row.name }),
    tags: JSON.parse(row.tags) as string[],
    size: row.size,
    read: row.read,
    added: row.added,
    stored: row.stored,
    disks: row.disks,
    warnings: row.warnings,
    ...(row.locked_until === null ? {} : { lockedUntil: row.locked_until }),
    ...(row.parent === null ? {} : { parent: row.parent }),
    ...(row.origin === null ? {} : { origin: row.origin }),
  };
}
