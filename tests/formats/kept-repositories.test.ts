/** A repository of every released format is opened, checked, restored, gone on with and collected, for ever. */
import assert from 'node:assert/strict';
import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareDevices } from '@prima/block';
import { openRepository, type Repository, type Secret } from '@prima/repository';
import { openLocalStore } from '@prima/storage';
import { temporaryFolder } from '@prima/testbed';
import { fixtureDisk, fixtureFile, fixtureFolder, fixtureSecrets } from './fixture-content.ts';

const kept = (await readdir(fixtureFolder)).filter((name) => /^v\d+$/.test(name));

test('there is a repository of every format', () => assert.ok(kept.includes('v1')));

async function assertPoints(repository: Repository): Promise<void> {
  const points = await repository.points();
  for (const number of [0, 1]) {
    const point = points[number];
    assert.ok(point);
    const { device } = await fixtureDisk(number);
    const disk = await repository.openDisk(point, 'disk0');
    try {
      assert.deepEqual(await compareDevices(device, disk), { differences: [], complete: true });
    } finally {
      await disk.close();
    }
    assert.deepEqual(Buffer.from(await repository.readFile(point, fixtureFile.name)), fixtureFile.bytes);
    assert.deepEqual(point.tags, ['kept']);
  }
}

for (const name of kept) {
  test(`a repository of format ${name} is read with each of its keys, and work goes on in it`, async (t) => {
    const folder = await temporaryFolder(t);
    await cp(join(fixtureFolder, name), folder, { recursive: true });
    const { words } = JSON.parse(await readFile(join(fixtureFolder, `${name}.json`), 'utf8')) as {
      words: string;
    };
    const secrets: Secret[] = [...Object.values(fixtureSecrets), { kind: 'recovery', words }];
    for (const secret of secrets) {
      const repository = await openRepository(await openLocalStore(folder), secret);
      await assertPoints(repository);
      await repository.close();
    }
    const repository = await openRepository(await openLocalStore(folder), fixtureSecrets.passphrase);
    assert.deepEqual((await repository.check({ readData: true })).faults, []);

    const [, second] = await repository.points();
    const root = second?.disks[0]?.root;
    assert.ok(second && root);
    const parent = { point: second.id, root };
    const { device } = await fixtureDisk(1);
    await device.write(4096, Buffer.alloc(4096, 7));
    const changed = [{ offset: 4096, length: 4096 }];
    const session = await repository.beginBackup({ machine: 'fixture' });
    const result = await session.writeDisk({ name: 'disk0', device, changed, parent });
    const { id: _old, ...rest } = second;
    const disks = [{ name: 'disk0', size: device.size, changed: 'tracked' as const, ...result }];
    await session.commit({ ...rest, disks, time: new Date().toISOString() });
    await assertPoints(repository);
    await repository.collect({});
    await assertPoints(repository);
    assert.deepEqual((await repository.check({ readData: true })).faults, []);
    await repository.close();
  });
}
