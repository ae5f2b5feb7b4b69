/** How fast a server answers the listing routes of 1,000 machines and 100,000 points, asked 500 times a second. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Logger } from '@prima/base';
import { resourceClient } from '@prima/api/http';
import { freePorts, projectRoot, waitUntil } from '@prima/testbed';
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
    fill(join(home, 'server.sqlite'));
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

/** Rows as the catalogue and the inventory would have made them. */
function fill(path: string): void {
  const db = new DatabaseSync(path);
  db.exec('PRAGMA busy_timeout = 10000; BEGIN');
  const time = (index: number) => new Date(Date.UTC(2026, 0, 1) + index * 60_000).toISOString();
  db.prepare(
    "insert into repository (id, organisation_id, name, url, secret, created) values ('r', 'main', 'main', '/nowhere', '', '')",
  ).run();
  const machine =
    db.prepare(`insert into machine (organisation_id, host, name, machine_id, state, memory, cpus, disk_bytes,
    disks, agent, seen, gone, detail, policies, promise_hours, points, last_point, due)
    values ('main', ?, ?, ?, 'running', 4294967296, 2, 107374182400, 2, 'answers', ?, 0, '{"disks":[],"notes":[]}', '["nightly"]', 26, 100, ?, ?)`);
  const point =
    db.prepare(`insert into point (repository_id, id, organisation_id, host, machine, machine_id, time, mode, quiesced,
    tags, size, read, data, added, stored, disks, warnings)
    values ('r', ?, 'main', ?, ?, ?, ?, 'hot', 1, '["policy:nightly"]', 107374182400, 1073741824, 53687091200, 536870912, 268435456, 2, 0)`);
  for (let index = 0; index < machines; index += 1) {
    const name = `vm${String(index).padStart(4, '0')}`;
    machine.run(`host${index % 20}`, name, `id-${name}`, time(points), time(points), time(points + 1560));
  }
  for (let index = 0; index < points; index += 1) {
    const of = index % machines;
    const name = `vm${String(of).padStart(4, '0')}`;
    const id = index.toString(16).padStart(64, '0');
    point.run(id, `host${of % 20}`, name, `id-${name}`, time(index));
  }
  db.exec('COMMIT');
  db.close();
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
