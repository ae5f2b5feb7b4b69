/** How fast `prima points` lists a repository of many restore points, all of small disks. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachBounded, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { createRepository, type Point, type PointDisk, type Repository } from '@prima/repository';
import { openLocalStore } from '@prima/storage';
import { projectRoot } from '@prima/testbed';
import { type ProgramRun, runMeasured } from './program-run.ts';

const machines = 50;

/**
 * Makes a repository of `count` points in `folder`, all of one small disk, and lists them `rounds` times, each
 * time with a new process that prints to a file.
 */
export async function benchPoints(
  folder: string,
  options: { count: number; rounds: number; passphrase: string },
): Promise<{ runs: ProgramRun[]; listed: number }> {
  const { count, rounds, passphrase } = options;
  const path = join(folder, 'repository');
  await makeRepository(path, count, passphrase);
  const env = { PRIMA_REPO: path, PRIMA_HOME: join(folder, 'home'), PRIMA_PASSPHRASE: passphrase };
  const printed = join(folder, 'points.json');
  const command = ['sh', '-c', '"$0" points --json --quiet >"$1"', join(projectRoot, 'bin/prima'), printed];
  const runs: ProgramRun[] = [];
  for (let round = 0; round < rounds; round += 1) runs.push(await runMeasured(command, { env }));
  const answer = JSON.parse(await readFile(printed, 'utf8')) as { result: unknown[] };
  return { runs, listed: answer.result.length };
}

async function makeRepository(path: string, count: number, passphrase: string): Promise<void> {
  const store = await openLocalStore(path, { create: true });
  const secret = { kind: 'passphrase', text: passphrase } as const;
  const repository = await createRepository(store, { secret, workers: 1, packBytes: MiB });
  try {
    const disk = await writeFirst(repository);
    const numbers = Array.from({ length: count - 1 }, (_, i) => i + 1);
    await forEachBounded(numbers, 8, async (number) => {
      await (await repository.beginBackup()).commit(pointOf(number, disk));
    });
  } finally {
    await repository.close();
  }
}

async function writeFirst(repository: Repository): Promise<PointDisk> {
  const device = memoryDevice(4 * MiB);
  await device.write(0, randomBytes(4096));
  const session = await repository.beginBackup();
  const { root, figures } = await session.writeDisk({ name: 'disk0', device });
  const disk: PointDisk = { name: 'disk0', size: device.size, root, changed: 'all', figures };
  await session.commit(pointOf(0, disk));
  return disk;
}

function pointOf(number: number, disk: PointDisk): Omit<Point, 'id'> {
  const name = `machine${String(number % machines).padStart(2, '0')}`;
  const time = new Date(Date.UTC(2030, 0, 1) + number * 3_600_000).toISOString();
  return {
    machine: { id: name, name },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [disk],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
  };
}
