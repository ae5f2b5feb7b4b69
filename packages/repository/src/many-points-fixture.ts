/** For tests and benchmarks: repositories of very many restore points, made by the code that backups use. */
import { randomBytes } from 'node:crypto';
import { KiB, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import type { ObjectStore } from '@prima/storage';
import { contextForTest } from './context-fixture.ts';
import type { Secret } from './contract.ts';
import type { Point, PointDisk } from './point.ts';
import { openRepository } from './repository.ts';
import { beginSession, decide } from './session/sessions.ts';

const machines = 50;

/**
 * Adds `count` restore points to the repository in `store`, an hour apart, all of one small disk of 50 machines. The
 * first is a backup; of the others there is what a backup that finds nothing changed leaves: marker, outcome, log entry.
 */
export async function makePoints(store: ObjectStore, secret: Secret, count: number): Promise<void> {
  const disk = await writeFirst(store, secret);
  const context = await contextForTest(store, secret);
  await context.log.inspect();
  for (let number = 1; number < count; number += 1) {
    const session = await beginSession(context, 'backup');
    const point = { id: session, ...pointOf(number, disk) };
    const outcome = {
      session,
      state: 'committed' as const,
      kind: 'backup' as const,
      time: point.time,
      point,
    };
    const { digest = '' } = await decide(context, outcome);
    await context.log.append({ event: 'committed', session, outcome: digest });
  }
}

async function writeFirst(store: ObjectStore, secret: Secret): Promise<PointDisk> {
  const device = memoryDevice(4 * MiB);
  await device.write(0, randomBytes(4 * KiB));
  const repository = await openRepository(store, secret, { workers: 0, packBytes: MiB });
  const session = await repository.beginBackup();
  const written = await session.writeDisk({ name: 'disk0', device });
  const disk: PointDisk = { name: 'disk0', size: device.size, changed: 'all', ...written };
  await session.commit(pointOf(0, disk));
  return disk; // the repository is not closed, for that would close the store
}

function pointOf(number: number, disk: PointDisk): Omit<Point, 'id'> {
  const name = `machine${String(number % machines).padStart(2, '0')}`;
  const time = new Date(Date.UTC(2030, 0, 1) + number * 3_600_000).toISOString();
  const lists = { skipped: [], files: [], tags: [], notes: [], warnings: [] };
  const when = { time, started: time, finished: time };
  return { machine: { id: name, name }, ...when, mode: 'cold', quiesced: false, disks: [disk], ...lists };
}
