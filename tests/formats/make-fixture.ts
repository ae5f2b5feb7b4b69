/**
 * Makes the repository that is kept of the format that this version writes. Run once, when a format is released; a
 * kept one is never made again.
 *
 * usage: scripts/node tests/formats/make-fixture.ts v1
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { assert, MiB } from '@prima/base';
import { createRepository, newRecoveryWords, type Point, type Repository } from '@prima/repository';
import { openLocalStore } from '@prima/storage';
import { fixtureDisk, fixtureFile, fixtureFolder, fixtureSecrets } from './fixture-content.ts';

async function main(name: string | undefined): Promise<void> {
  assert(name && /^v\d+$/.test(name), 'the fixture has the name of its format, such as v1');
  const store = await openLocalStore(join(fixtureFolder, name), { create: true });
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const secret = fixtureSecrets.passphrase;
  const repository = await createRepository(store, { secret, label: 'fixture', kdfCost, packBytes: MiB });
  await repository.addKeySlot(fixtureSecrets.keyfile, 'key file');
  const words = await newRecoveryWords();
  await repository.addKeySlot({ kind: 'recovery', words }, 'paper');
  const first = await backup(repository, 0, undefined);
  await repository.rotateKeys();
  await backup(repository, 1, first);
  await repository.close();
  await writeFile(join(fixtureFolder, `${name}.json`), `${JSON.stringify({ words }, undefined, 2)}\n`);
}

async function backup(repository: Repository, number: number, parent: Point | undefined): Promise<Point> {
  const { device, changed } = await fixtureDisk(number);
  const session = await repository.beginBackup({ machine: 'fixture' });
  const parentRoot = parent?.disks[0]?.root;
  const result = await session.writeDisk({
    name: 'disk0',
    device,
    ...(parent && parentRoot ? { changed, parent: { point: parent.id, root: parentRoot } } : {}),
  });
  const file = await session.writeFile(fixtureFile.name, fixtureFile.bytes);
  const time = new Date(Date.UTC(2026, 10, 20 + number)).toISOString();
  return await session.commit({
    machine: { id: 'fixture', name: 'fixture', host: 'lab' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: parentRoot ? 'tracked' : 'all', ...result }],
    skipped: [{ name: 'disk1', why: 'left out on purpose' }],
    files: [file],
    tags: ['kept'],
    notes: [],
    warnings: [],
  });
}

await main(process.argv[2]);
