/** Machines and points in a server's SQLite state, as the catalogue and the inventory would have made them, without hosts and backups. */
import { DatabaseSync } from 'node:sqlite';

/** `machines` `vm0000` … on 20 hosts, `host0` …, and their points, in a repository `main` that is nowhere. */
export function fillState(path: string, { machines, points }: { machines: number; points: number }): void {
  const db = new DatabaseSync(path);
  db.exec('PRAGMA busy_timeout = 10000; BEGIN');
  const time = (index: number) => new Date(Date.UTC(2026, 0, 1) + index * 60_000).toISOString();
  db.prepare(
    "insert into repository (id, organisation_id, name, url, secret, created) values ('r', 'main', 'main', '/nowhere', '', ?)",
  ).run(time(0));
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
