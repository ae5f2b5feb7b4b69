/** A worker: does the jobs of its own hosts for a server. docs/decisions/0024-workers.md */
import { randomUUID } from 'node:crypto';
import { access, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { PrimaApi } from '@prima/api';
import { serverResources, type ServerOptions } from '@prima/api/client';
import type { ResourceClient } from '@prima/api/http';
import { type Clock, type Logger, PrimaError, systemClock, systemErrorCode, toPrimaError } from '@prima/base';
import { createApplication } from '../application.ts';
import { openHome } from '../home.ts';
import { JobRunner, type JobWork } from '../jobs/job-runner.ts';
import { problemOf } from '../problem.ts';
import { changesMachines } from '../service/aftermath.ts';
import { mayBeginAgain, runOperation } from '../service/work.ts';
import { HttpQueue, type WorkerJob } from './http-queue.ts';

export interface WorkerOptions {
  home: string;
  server: ServerOptions;
  /** Default: the computer's. */
  name?: string | undefined;
  version: string;
  /** Jobs at the same time. Default 4. */
  atOnce?: number | undefined;
  logger: Logger;
  clock?: Clock;
}

export interface RunningWorker {
  name: string;
  hosts: readonly string[];
  /** Resolves when the server wants nothing of it any more; close it then. */
  refused: Promise<PrimaError>;
  /** What runs is cancelled, cleaned up and queued again. */
  close(): Promise<void>;
}

const inventoryEveryMs = 5 * 60_000;
const firstPauseMs = 1000;
const longestPauseMs = 30_000;

interface Parts {
  id: string;
  home: string;
  name: string;
  version: string;
  atOnce: number;
  call: ResourceClient;
  application: PrimaApi;
  logger: Logger;
  clock: Clock;
  ending: AbortController;
}

/** Registers, and works until it is closed. Raises what the server refuses; one that is away is waited for. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { server, logger, clock = systemClock, atOnce = 4, version } = options;
  const { folder: home } = await openHome(options.home);
  const name =
    options.name ??
    hostname()
      .replaceAll(/[^A-Za-z0-9._-]/g, '-')
      .slice(0, 64);
  const ending = new AbortController();
  const refused = Promise.withResolvers<PrimaError>();
  const call = serverResources(server);
  const application = await createApplication({ home, logger });
  const parts: Parts = {
    id: await idIn(home),
    home,
    name,
    version,
    atOnce,
    call,
    application,
    logger,
    clock,
    ending,
  };
  try {
    const first = await registered(parts);
    const runner = new JobRunner<WorkerJob>({
      store: new HttpQueue({
        worker: parts.id,
        call,
        clock,
        logger,
        refused: (failure) => refused.resolve(failure),
        ending: ending.signal,
      }),
      clock,
      logger,
      limits: { atOnce },
      run: (job, how) => work(parts, job, how),
      mayBeginAgain,
      ended: async ({ operation, host }) => {
        if (host !== undefined && changesMachines(operation)) await tellMachines(parts, host);
      },
    });
    await runner.start();
    const telling = tellOfHosts(parts, first);
    return {
      name,
      hosts: first.hosts,
      refused: refused.promise,
      close: async () => {
        ending.abort();
        await runner.close();
        await telling;
        await application.close();
      },
    };
  } catch (error) {
    ending.abort();
    await application.close();
    throw error;
  }
}

/** What its hosts have, until it ends; and that there are others. */
async function tellOfHosts(parts: Parts, { hosts, told }: Registered): Promise<void> {
  const { clock, ending } = parts;
  while (!ending.signal.aborted) {
    for (const host of hosts) await quietly(parts, () => tellMachines(parts, host));
    await clock.sleep(inventoryEveryMs, ending.signal).catch(() => undefined); // aborted: it ends
    if (ending.signal.aborted) return;
    await quietly(parts, async () => {
      const now = await hostsOf(parts);
      if (JSON.stringify(now) === JSON.stringify(told)) return;
      hosts = await register(parts, now);
      told = now;
    });
  }
}

/** Of the home folder: two workers of one name are told apart by it. */
async function idIn(home: string): Promise<string> {
  const path = join(home, 'worker.id');
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw toPrimaError(error, `reading ${path}`);
  }
  const id = randomUUID();
  await writeFile(path, `${id}\n`, { mode: 0o600, flag: 'wx' });
  return id;
}

type ToldHost = Pick<Awaited<ReturnType<PrimaApi['hostList']>>[number], 'name' | 'platform' | 'location'>;

interface Registered {
  /** That are this worker's. */
  hosts: string[];
  told: ToldHost[];
}

async function hostsOf({ application }: Parts): Promise<ToldHost[]> {
  return (await application.hostList()).map(({ name, platform, location }) => ({ name, platform, location }));
}

/** Answers the hosts that are this worker's then. */
async function register({ id, name, version, atOnce, call }: Parts, hosts: ToldHost[]): Promise<string[]> {
  const body = { name, version, hostname: hostname(), atOnce, hosts };
  return (await call('registerWorker', { path: { id }, body })).hosts;
}

async function registered(parts: Parts): Promise<Registered> {
  const { clock, logger, ending } = parts;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      const told = await hostsOf(parts);
      return { hosts: await register(parts, told), told };
    } catch (error) {
      const failure = toPrimaError(error, 'registering with the server');
      if (!failure.retryable) throw failure;
      logger.warn(`${failure.message}; trying again`);
      await clock.sleep(pauseMs, ending.signal);
    }
  }
}

async function tellMachines({ id, call, application }: Parts, host: string): Promise<void> {
  let body: Parameters<typeof call<'tellInventory'>>[1];
  try {
    body = { body: { host, machines: await application.machineList({ host }) } };
  } catch (error) {
    body = { body: { host, error: problemOf(toPrimaError(error, `reading the machines of ${host}`)) } };
  }
  await call('tellInventory', { path: { id }, ...body });
}

async function quietly({ logger }: Parts, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    logger.warn(toPrimaError(error, 'telling the server').message);
  }
}

async function work(
  { application, home, logger, name }: Parts,
  job: WorkerJob,
  how: JobWork,
): ReturnType<typeof runOperation> {
  const { repository, request } = job;
  if (!repository) return runOperation(application, { operation: job.operation, request }, how);
  await checkReachable(repository, name);
  const { url, passphrase } = repository;
  const own = await createApplication({
    home,
    repository: url,
    secret: async () => ({ kind: 'passphrase', text: passphrase }),
    logger,
  });
  try {
    return await runOperation(own, { operation: job.operation, request }, how);
  } finally {
    await own.close();
  }
}

async function checkReachable({ name, url }: { name: string; url: string }, worker: string): Promise<void> {
  if (/^(s3|sftp):/.test(url)) return;
  try {
    await access(url);
  } catch (error) {
    throw new PrimaError(
      'not-found',
      `the repository ${name} is a folder, and the worker ${worker} does not see it there; repositories on S3 or SFTP are reached from everywhere`,
      { cause: error },
    );
  }
}
