/** How fast a server answers the listing routes of 1,000 machines and 100,000 points, asked 500 times a second. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '@prima/base';
import { resourceClient } from '@prima/api/http';
import { freePorts, projectRoot, waitUntil } from '@prima/testbed';
import { fillState } from '../tests/server/many-rows-fixture.ts';
import type { Row } from './results.ts';

const machines = 1000;
const points = 100_000;
const perSecond = 500;
const seconds = 20;
const wantedMs = 100;

const routes = [
  '/machines?limit=100',
  '/machines?q=9&limit=100',
  '/points?limit=100',
  '/points?machine=vm0500&limit=100',
  '/jobs?limit=100',
];

export interface LoadResult {
  asked: number;
  failed: number;
  /** Milliseconds, from when a request was due. */
  p50: number;
  p99: number;
}

export async function serverRows({
  folder,
  log,
}: {
  folder: string;
  log: Logger;
}): Promise<{ rows: Row[]; result: LoadResult }> {
  const home = join(folder, 'home');
  await mkdir(home, { recursive: true });
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(
    join(projectRoot, 'bin/prima'),
    ['--json', '--home', home, 'server', '--plain-http', '--listen', `127.0.0.1:${port}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    const link = await firstLink(server);
    log.info(`making ${machines} machines and ${points} points`);
    fillState(join(home, 'server.sqlite'), { machines, points });
    const result = await load(url, await tokenOf(url, link));
    const item = `${result.asked} requests, ${perSecond} a second, of ${machines} machines and ${points} points`;
    return {
      rows: [
        {
          item,
          prima: `p50 ${result.p50.toFixed(1)} ms, p99 ${result.p99.toFixed(1)} ms, ${result.failed} failed`,
          value: result.p99,
          wanted: { atMost: wantedMs },
          unit: 'ms',
        },
      ],
      result,
    };
  } finally {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
  }
}

async function firstLink({ stdout }: ChildProcess): Promise<string> {
  let said = '';
  stdout?.on('data', (data: Buffer) => (said += data.toString()));
  return waitUntil(async () => /"firstLink":"[^"]*\/link\/([^"]+)"/.exec(said)?.[1], {
    what: 'the server',
    timeoutMs: 60_000,
  });
}

async function tokenOf(origin: string, secret: string): Promise<string> {
  let cookie = '';
  let csrf = '';
  const call = resourceClient({
    origin,
    headers: () => ({ cookie, 'x-prima-csrf': csrf }),
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? cookie;
      return response;
    },
  });
  ({ csrf } = await call('useLink', {
    path: { secret },
    body: { name: 'bench', password: 'not a secret: the benchmark' },
  }));
  const made = await call('createToken', { body: { name: 'bench', roles: ['viewer'], days: 1 } });
  return made.secret;
}

/** Asks at a fixed rate, whether the answers come or not: a server that stalls shows. */
async function load(url: string, token: string): Promise<LoadResult> {
  const took: number[] = [];
  let failed = 0;
  const ask = async (route: string, due: number) => {
    try {
      const response = await fetch(`${url}/api/v1${route}`, {
        headers: { authorization: `Bearer ${token}` },
      });
      await response.arrayBuffer();
      if (!response.ok) failed += 1;
    } catch {
      failed += 1;
    }
    took.push(performance.now() - due);
  };
  const begun = performance.now();
  const running: Promise<void>[] = [];
  const total = perSecond * seconds;
  for (let asked = 0; asked < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - begun) / 1000) * perSecond));
    for (; asked < due; asked += 1)
      running.push(ask(routes[asked % routes.length] ?? '', begun + (asked / perSecond) * 1000));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(running);
  took.sort((a, b) => a - b);
  const at = (share: number) =>
    took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN;
  return { asked: total, failed, p50: at(0.5), p99: at(0.99) };
}
