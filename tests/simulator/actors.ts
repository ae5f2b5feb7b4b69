/** What people and their timers do to a repository, each in a process of its own. */
import type { Point, Repository, WriteSession } from '@prima/repository';
import { chunkSize, differingChunks, diskOf, type DiskContent } from './disks.ts';
import type { SimulatedProcess } from './scheduler.ts';
import { codeOf, fileOf, type World } from './world.ts';

export type Actor = (world: World, process: SimulatedProcess) => Promise<void>;

/** Raises what is not allowed to happen. */
function unlessAllowed(
  world: World,
  error: unknown,
  process: SimulatedProcess,
  codes: readonly string[],
): void {
  if (world.fault) return;
  const message = error instanceof Error ? error.message : String(error);
  if (!codes.includes(codeOf(error))) throw world.fail(`${process.name} fails: ${codeOf(error)}: ${message}`);
}

/** Changes some of a machine's chunks and backs it up, often on top of an earlier point. */
export const backUp: Actor = async (world, process) => {
  const { random } = world;
  const number = random.below(world.machines.length);
  const content = nextContent(world, number);
  world.machines[number] = content;
  const repository = await world.open(process, 'backup');
  const parent = await parentOf(world, repository, content);
  // the parent was chosen; what it is needed for may begin a good while later
  if (parent && random.below(6) === 0) await losePoint(world, process, { repository, point: parent });
  else await world.pause(process);
  const jumpsBefore = world.jumps;
  let session: WriteSession | undefined;
  try {
    session = await repository.beginBackup({ machine: `m${number}` });
    await world.pause(process);
    await write(world, { session, content, number, jumpsBefore, ...(parent ? { parent } : {}) });
  } catch (error) {
    const state = session && world.points.get(session.id)?.state;
    if (session && state === 'open' && codeOf(error) === 'refused') {
      const { point: _point, ...rest } = world.points.get(session.id) ?? { content };
      world.points.set(session.id, { ...rest, content, state: 'never' });
    }
    await session?.abort(String(error));
    // who was given up on may find the parent collected; nobody else does, for it was looked at
    const mayBeGone = parent !== undefined && world.jumps !== jumpsBefore;
    unlessAllowed(world, error, process, ['refused', ...(mayBeGone ? ['integrity'] : [])]);
  }
  await repository.close();
};

/** The machine's disk as it was at some point, forgotten or not, or as it is with some changes. */
function nextContent(world: World, number: number): DiskContent {
  const { random } = world;
  const now = world.machines[number] ?? [];
  const earlier = [...world.points.values()].filter(({ content }) => content.length === now.length);
  const dead = earlier.filter(({ state }) => state === 'gone' || state === 'leaving');
  const some = dead.length > 0 && random.below(4) !== 0 ? dead : earlier;
  const back = some[random.below(Math.max(1, some.length))];
  if (back && random.below(3) !== 0) return back.content;
  return now.map((value) => (random.below(3) === 0 ? world.value() : value));
}

async function parentOf(
  world: World,
  repository: Repository,
  content: DiskContent,
): Promise<Point | undefined> {
  if (world.random.below(3) === 0) return undefined;
  const points = (await repository.points()).filter(
    ({ disks }) => disks[0]?.size === content.length * chunkSize,
  );
  return points[world.random.below(Math.max(1, points.length))];
}

/** The point that was chosen is forgotten, and perhaps collected, before it was of use. */
async function losePoint(
  world: World,
  process: SimulatedProcess,
  chosen: { repository: Repository; point: Point },
): Promise<void> {
  if (world.points.get(chosen.point.id)?.state !== 'there') return;
  await forgetOne(world, process, chosen);
  for (let left = world.random.below(4); left > 0; left -= 1) {
    if (await tryToCollect(world, process)) return;
    await world.pause(process);
  }
}

async function write(
  world: World,
  backup: {
    session: WriteSession;
    content: DiskContent;
    number: number;
    parent?: Point;
    jumpsBefore: number;
  },
): Promise<void> {
  const { session, content, number, parent } = backup;
  const { random } = world;
  const root = parent?.disks[0]?.root;
  const earlier = parent && world.points.get(parent.id)?.content;
  const changed =
    root && earlier
      ? content.flatMap((value, chunk) =>
          value === earlier[chunk] ? [] : [{ offset: chunk * chunkSize, length: chunkSize }],
        )
      : undefined;
  const result = await session.writeDisk({
    name: 'disk0',
    device: diskOf(content),
    sampleChunks: random.below(2),
    ...(changed && parent && root ? { changed, parent: { point: parent.id, root } } : {}),
  });
  const isUnread = (result.hidden?.length ?? 0) > 0 && world.jumps === backup.jumpsBefore;
  if (isUnread) throw world.fail(`pages of point ${parent?.id} are gone, which was looked at and found`);
  if (result.trackingFault) throw world.fail(`a chunk of point ${parent?.id} is not what it was`);
  const file = await session.writeFile('m.vmx', Buffer.from(fileOf(content)));
  if (random.below(10) === 0) {
    await session.abort('changed its mind');
    return;
  }
  world.points.set(session.id, { content, state: 'open' });
  const time = new Date(world.scheduler.now).toISOString();
  const point = await session.commit({
    machine: { id: `m${number}`, name: `m${number}` },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [
      { name: 'disk0', size: content.length * chunkSize, changed: changed ? 'tracked' : 'all', ...result },
    ],
    skipped: [],
    files: [file],
    tags: [],
    notes: [],
    warnings: [],
  });
  world.points.set(session.id, { content, state: 'there', point });
}

/** Forgets one point or several, but for the last. */
export const forget: Actor = async (world, process) => {
  const repository = await world.open(process, 'forget');
  const known = new Set(
    [...world.points].flatMap(([id, { state }]) => (state === 'there' || state === 'leaving' ? [id] : [])),
  );
  const points = (await repository.points()).filter(({ id }) => known.has(id));
  for (let left = 1 + world.random.below(3); left > 0 && points.length > 1; left -= 1) {
    const [point] = points.splice(world.random.below(points.length), 1);
    if (point) await forgetOne(world, process, { repository, point });
  }
  await repository.close();
};

async function forgetOne(
  world: World,
  process: SimulatedProcess,
  { repository, point }: { repository: Repository; point: Point },
): Promise<void> {
  const expected = world.points.get(point.id);
  if (!expected || expected.state === 'gone') return;
  expected.state = 'leaving';
  try {
    await repository.forget(point);
    expected.state = 'gone';
  } catch (error) {
    unlessAllowed(world, error, process, ['not-found']);
  }
}

export const collect: Actor = async (world, process) => {
  await tryToCollect(world, process);
};

/** Whether it came to its end: others may be at work for too long, or give up on it. */
async function tryToCollect(world: World, process: SimulatedProcess): Promise<boolean> {
  const { random } = world;
  const repository = await world.open(process, 'collect');
  let isDone = false;
  try {
    await repository.collect({
      maxDeleteShare: 1,
      waitMs: random.below(3) * 60_000,
      ...(random.below(2) === 0 ? { maxRewriteBytes: random.below(30) * 1024 } : {}),
      ...(random.below(3) === 0 ? { roundBytes: 10 * 1024 } : {}),
    });
    isDone = true;
  } catch (error) {
    unlessAllowed(world, error, process, ['busy', 'refused']);
    const message = error instanceof Error ? error.message : '';
    if (codeOf(error) === 'refused' && !message.includes('another collection'))
      throw world.fail(`${process.name} refuses: ${message}`);
  }
  await repository.close();
  return isDone;
}

/** Reads a point slowly; as long as its pin holds it comes back, though it is forgotten and collected meanwhile. */
export const read: Actor = async (world, process) => {
  const repository = await world.open(process, 'read');
  const points = await repository.points();
  const point = points[world.random.below(Math.max(1, points.length))];
  if (!point) return;
  const jumpsBefore = world.jumps;
  const hasLease = () => world.jumps === jumpsBefore;
  let isPinned = false;
  try {
    const device = await repository.openDisk(point, 'disk0');
    isPinned = true;
    const content = world.points.get(point.id)?.content ?? [];
    const lostAt = world.random.below(2) === 0 ? world.random.below(content.length) : undefined;
    for (const [chunk, value] of [...content.entries(), ...content.entries()].reverse()) {
      if (chunk === lostAt) await losePoint(world, process, { repository, point });
      else await world.pause(process);
      const bytes = Buffer.alloc(chunkSize);
      await device.read(chunk * chunkSize, bytes);
      if (differingChunks([value], bytes).length > 0)
        throw world.fail(`${process.name} reads other bytes in chunk ${chunk} of point ${point.id}`);
    }
    await device.close();
  } catch (error) {
    unlessAllowed(world, error, process, isPinned && hasLease() ? [] : ['not-found', 'integrity']);
  }
  await repository.close();
};

/** Whatever else goes on, a check finds nothing wrong. */
export const check: Actor = async (world, process) => {
  const repository = await world.open(process, 'check');
  const { faults } = await repository.check({ readData: world.random.below(2) === 0 });
  const [first] = faults;
  if (first) throw world.fail(`${process.name} finds ${first.kind}, ${first.object}: ${first.message}`);
  await repository.close();
};
