/** When nobody is at work: every point comes back, nothing is damaged, and one collection leaves nothing that nobody needs. */
import type { Repository } from '@prima/repository';
import type { SimulatedProcess } from './scheduler.ts';
import type { World } from './world.ts';

const dayMs = 24 * 3_600_000;

/** @param alone runs a task as the only process */
export async function assertSoundAndTidy(
  world: World,
  alone: (name: string, task: (process: SimulatedProcess) => Promise<void>) => Promise<void>,
): Promise<void> {
  // whoever died is given up on; half of the time checkpoints are too old as well
  world.scheduler.skipTime((world.random.below(2) === 0 ? 1.1 : 15) * dayMs);
  await alone('who comes after', async (process) => {
    const repository = await world.open(process, 'after');
    await settlePoints(world, repository);
    for (const point of await repository.points())
      await world.assertRestores(repository, point, 'afterwards');
    await repository.collect({ maxDeleteShare: 1, waitMs: 0 });
    await settlePoints(world, repository);
    await repository.close();
  });
  await alone('who looks at the end', async (process) => {
    const repository = await world.open(process, 'after');
    for (const point of await repository.points()) await world.assertRestores(repository, point, 'collected');
    await assertTidy(world, repository);
    await repository.close();
  });
}

/** The points that are there are those that must be; what was open is decided by what is found. */
async function settlePoints(world: World, repository: Repository): Promise<void> {
  const found = new Map((await repository.points()).map((point) => [point.id, point]));
  for (const id of found.keys()) if (!world.points.has(id)) throw world.fail(`nobody made point ${id}`);
  for (const [id, expected] of world.points) {
    const point = found.get(id);
    const { state } = expected;
    if (point && (state === 'gone' || state === 'never'))
      throw world.fail(`point ${id} is there, but it is ${state}`);
    if (!point && state === 'there') throw world.fail(`point ${id} is missing`);
    if (point) Object.assign(expected, { state: 'there', point });
    else if (state === 'open') expected.state = 'never';
    else if (state === 'leaving') expected.state = 'gone';
  }
}

async function assertTidy(world: World, repository: Repository): Promise<void> {
  const { faults, leftovers } = await repository.check({ readData: true });
  const [fault] = faults;
  if (fault) throw world.fail(`a check finds ${fault.kind}, ${fault.object}: ${fault.message}`);
  if (leftovers.length > 0) throw world.fail(`a collection left ${leftovers.join('; ')}`);
  const { packs } = await repository.status();
  const stored = world.disk.keys('packs/').length;
  if (stored !== packs) throw world.fail(`${stored} packs are stored, ${packs} are in the index`);
  const [condemned] = world.disk.keys('condemned/');
  if (condemned) throw world.fail(`${condemned} is left`);
  for (const key of world.disk.keys('sessions/')) {
    const [, id = '', part] = /^sessions\/([0-9a-f]{32})\/(.*)$/.exec(key) ?? [];
    if (!world.disk.get(`sessions/${id}/outcome`))
      throw world.fail(`${key} is left of a session without outcome`);
    if (part === 'forgotten') throw world.fail(`${key} is left of a forgotten session`);
  }
}
