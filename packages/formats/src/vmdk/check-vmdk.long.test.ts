/** Damage made on purpose: it is found and named, mended where the data is there, and refused where it is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isZero, seededRandom } from '@prima/base';
import { bytesOf, damagedSize, filledDisk, OpenedHosted, setBytes } from './check-fixture.ts';
import { checkVmdk } from './check-vmdk.ts';
import { type CreateVmdkOptions, createVmdk } from './create-vmdk.ts';
import { newDescriptor, writeDescriptor } from './descriptor-write.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';
import { seSparseFile, seSparseReplayOffset } from './se-sparse-fixture.ts';

const hosted = { createType: 'monolithicSparse', grainSectors: 16 } as const;
const file = '/disk.vmdk';

async function contentOf(folder: MemoryFolder): Promise<Buffer> {
  const { device } = await openVmdk(file, { folder });
  const bytes = Buffer.alloc(device.size);
  try {
    await device.read(0, bytes);
  } finally {
    await device.close();
  }
  return bytes;
}

/** Codes of what is more than odd. */
async function faultsOf(folder: MemoryFolder): Promise<string[]> {
  const { findings } = await checkVmdk(file, { folder });
  return [...new Set(findings.filter(({ severity }) => severity !== 'info').map(({ code }) => code))].sort();
}

interface Expectation {
  found: string[];
  /** Part of a line of the repair, or of a refusal. */
  did?: RegExp;
  refused?: RegExp;
  /** What is still found after the repair. */
  left?: string[];
}

/** Checks, repairs and checks again; the disk then holds `expected`, and is as it was where nothing could be done. */
async function assertMends(
  folder: MemoryFolder,
  expected: Buffer | undefined,
  wanted: Expectation,
): Promise<void> {
  assert.deepEqual(await faultsOf(folder), wanted.found);
  const before = await bytesOf(folder, file);
  const { repairs, refusals } = await checkVmdk(file, { folder, repair: true });
  if (wanted.did) assert.match(repairs.join('\n'), wanted.did);
  if (wanted.refused) assert.match(refusals.join('\n'), wanted.refused);
  else assert.deepEqual(refusals, []);
  assert.deepEqual(await faultsOf(folder), wanted.left ?? []);
  if (!wanted.did) {
    assert.deepEqual(repairs, []);
    assert.ok(before.equals(await bytesOf(folder, file)), 'nothing was changed');
  }
  if (expected)
    assert.ok(expected.equals(await contentOf(folder)), 'the disk holds what it did before the damage');
}

type Damage = (disk: OpenedHosted) => void;

const noise = (length: number) => seededRandom(3).bytes(new Uint8Array(length));
const first = (list: readonly number[]) => list[0] ?? assert.fail('the fixture has such an entry');
/** A sector where a grain is. */
const grainOf = (disk: OpenedHosted, index: number) => disk.entry(1, index, first(disk.used(index)));

const both = (which: (copy: 0 | 1) => Record<string, [Damage, Expectation]>) => ({
  ...which(0),
  ...which(1),
});

const mended: Record<string, [Damage, Expectation]> = both((copy) => {
  const differ = { found: ['copies-differ'], did: /made the copies of 1 grain tables equal/ };
  const lost = { found: ['copy-broken'], did: /gave 1 grain tables that had lost a copy a new one/ };
  const alone = { found: ['directory-broken'], did: /goes on with the grain directory at sector/ };
  const name = copy === 0 ? 'the first copy' : 'the second copy';
  return {
    [`${name} of a table is zeros`]: [
      (disk) => disk.bytes.fill(0, disk.table(copy, 1), disk.table(copy, 1) + 2048),
      differ,
    ],
    [`${name} of a table has a sector of noise`]: [
      (disk) => disk.bytes.set(noise(512), disk.table(copy, 0) + 512),
      differ,
    ],
    [`${name} of a table is noise`]: [(disk) => disk.bytes.set(noise(2048), disk.table(copy, 2)), differ],
    [`${name} has an entry beyond the end`]: [
      (disk) => disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: 0x8000_0000 }),
      differ,
    ],
    [`${name} has an entry where a grain of another is`]: [
      (disk) => disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: grainOf(disk, 0) }),
      differ,
    ],
    [`${name} has an entry where tables are`]: [
      (disk) => disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: disk.table(0, 0) / 512 }),
      differ,
    ],
    [`${name} has lost an entry`]: [
      (disk) => disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: 0 }),
      differ,
    ],
    [`${name} has a grain too many, which is another's`]: [
      (disk) => disk.setEntry(copy, 1, { at: first(disk.unused(1)), sector: grainOf(disk, 2) }),
      differ,
    ],
    [`${name}'s place is beyond the end`]: [(disk) => disk.setTable(copy, 1, 0xffff_fff0), lost],
    [`${name}'s place is not known`]: [(disk) => disk.setTable(copy, 1, 0), lost],
    [`${name}'s place is that of another table`]: [
      (disk) => disk.setTable(copy, 1, disk.table(copy, 0) / 512),
      { found: ['copy-broken'], did: /gave 2 grain tables/ },
    ],
    [`${name}'s place is where a grain is`]: [(disk) => disk.setTable(copy, 1, grainOf(disk, 0)), lost],
    [`${name}'s place is where its own grain is`]: [(disk) => disk.setTable(copy, 1, grainOf(disk, 1)), lost],
    [`${name}'s place is in the header`]: [(disk) => disk.setTable(copy, 1, 2), lost],
    [`${name}'s directory is noise`]: [(disk) => disk.bytes.set(noise(512), disk.directory(copy)), alone],
    [`${name}'s directory is zeros`]: [
      (disk) => disk.bytes.fill(0, disk.directory(copy), disk.directory(copy) + 512),
      alone,
    ],
    [`${name}'s directory is beyond the end`]: [
      (disk) => disk.bytes.writeBigUInt64LE(1n << 42n, copy === 0 ? 56 : 48),
      alone,
    ],
    [`${name}'s directory is where a grain is`]: [
      (disk) => disk.bytes.writeBigUInt64LE(BigInt(grainOf(disk, 0)), copy === 0 ? 56 : 48),
      alone,
    ],
    [`${name}'s directory is in the descriptor`]: [
      (disk) => disk.bytes.writeBigUInt64LE(1n, copy === 0 ? 56 : 48),
      alone,
    ],
  };
});

Object.assign(mended, {
  'the mark of an unclean shutdown': [
    (disk) => disk.bytes.writeUInt8(1, 72),
    { found: ['unclean'], did: /cleared the mark/ },
  ],
} satisfies Record<string, [Damage, Expectation]>);

for (const [name, [damage, wanted]] of Object.entries(mended)) {
  test(`hosted, ${name}: mended`, async () => {
    const { folder, expected } = await filledDisk(hosted);
    const disk = new OpenedHosted(await bytesOf(folder, file));
    damage(disk);
    await setBytes(folder, file, disk.bytes);
    await assertMends(folder, expected, wanted);
    const { device } = await openVmdk(file, { folder, writable: true });
    const middle = Math.floor(damagedSize / 2);
    await device.write(middle, expected.subarray(middle, middle + 300_000)); // it can be written again
    await device.close();
    assert.deepEqual(await faultsOf(folder), []);
    assert.ok(expected.equals(await contentOf(folder)));
  });
}

const refused: Record<string, [Damage, Expectation]> = {
  'an entry names a free place in one copy': [
    (disk) => {
      const grain = { at: first(disk.used(1)), sector: 0 };
      // what the last grain of the disk was is free now
      const [at = 0] = disk.used(2);
      grain.sector = disk.entry(0, 2, at);
      for (const copy of [0, 1] as const) disk.setEntry(copy, 2, { at, sector: 0 });
      disk.setEntry(0, 1, grain);
    },
    { found: ['copies-conflict'], refused: /contradict each other/, left: ['copies-conflict'] },
  ],
  'a table is nowhere in both': [
    (disk) => {
      disk.setTable(0, 1, 0xffff_0000);
      disk.setTable(1, 1, 0xffff_0000);
    },
    { found: ['directory-entry-broken'], left: ['directory-entry-broken'] },
  ],
  'a grain is another’s in both': [
    (disk) => {
      for (const copy of [0, 1] as const)
        disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: grainOf(disk, 0) });
    },
    { found: ['grain-used-twice'], left: ['grain-used-twice'] },
  ],
  'a grain is where tables are in both': [
    (disk) => {
      for (const copy of [0, 1] as const) disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: 1 });
    },
    { found: ['grain-in-tables'], left: ['grain-in-tables'] },
  ],
  'a grain is beyond the end in both, and a table has lost its copy': [
    (disk) => {
      for (const copy of [0, 1] as const)
        disk.setEntry(copy, 1, { at: first(disk.used(1)), sector: Math.ceil(disk.bytes.length / 512) });
      disk.setTable(1, 2, 0);
    },
    {
      found: ['copy-broken', 'grain-beyond-end'],
      refused: /no new one is put at the end/,
      left: ['copy-broken', 'grain-beyond-end'],
    },
  ],
  'it was not closed, and a table is nowhere': [
    (disk) => {
      disk.setTable(0, 1, 0xffff_0000);
      disk.setTable(1, 1, 0xffff_0000);
      disk.bytes.writeUInt8(1, 72);
    },
    {
      found: ['directory-entry-broken', 'unclean'],
      refused: /the mark of an unclean shutdown stays/,
      left: ['directory-entry-broken', 'unclean'],
    },
  ],
  'one directory is noise, and a table is nowhere in the other': [
    (disk) => {
      disk.setTable(1, 1, 0xffff_0000);
      disk.bytes.set(noise(512), disk.directory(0));
    },
    {
      found: ['directory-broken', 'directory-entry-broken'],
      refused: /both are kept/,
      left: ['directory-broken', 'directory-entry-broken'],
    },
  ],
};

for (const [name, [damage, wanted]] of Object.entries(refused)) {
  test(`hosted, ${name}: refused`, async () => {
    const { folder } = await filledDisk(hosted);
    const disk = new OpenedHosted(await bytesOf(folder, file));
    damage(disk);
    await setBytes(folder, file, disk.bytes);
    await assertMends(folder, undefined, wanted);
  });
}

test('hosted: a file that ends within its last grain grows, one that ends before it does not', async () => {
  const { folder, expected } = await filledDisk(hosted);
  const whole = await bytesOf(folder, file);
  await setBytes(folder, file, whole.subarray(0, whole.length - 3000));
  await assertMends(folder, undefined, { found: ['grain-cut-off'], did: /what was cut off/ });
  const found = await contentOf(folder);
  for (let at = 0; at < damagedSize; at += 512) {
    const sector = found.subarray(at, at + 512);
    assert.ok(expected.subarray(at, at + 512).equals(sector) || isZero(sector.subarray(72)), `at ${at}`);
  }
  await setBytes(folder, file, whole.subarray(0, whole.length - 20 * 512));
  await assertMends(folder, undefined, {
    found: ['grain-beyond-end', 'grain-cut-off'],
    did: /what was cut off/,
    left: ['grain-beyond-end'],
  });
});

test('hosted: an entry within the last grain does not make the file grow', async () => {
  const { folder } = await filledDisk(hosted);
  const disk = new OpenedHosted(await bytesOf(folder, file));
  const sector = disk.bytes.length / 512 - 8;
  for (const copy of [0, 1] as const) disk.setEntry(copy, 1, { at: first(disk.unused(1)), sector });
  await setBytes(folder, file, disk.bytes);
  const codes = ['grain-cut-off', 'grain-used-twice'];
  await assertMends(folder, undefined, { found: codes, refused: /may be what is damaged/, left: codes });
});

test('hosted: what belongs to nothing is told, and cut off where it is the end', async () => {
  const { folder, expected } = await filledDisk(hosted);
  const disk = new OpenedHosted(await bytesOf(folder, file));
  await setBytes(folder, file, Buffer.concat([disk.bytes, noise(100_000)]));
  const { findings, repairs } = await checkVmdk(file, { folder, repair: true });
  assert.deepEqual(
    findings.map(({ code }) => code),
    ['tail-unused'],
  );
  assert.match(repairs.join(), /cut off \d+ bytes at its end/);
  assert.equal((await bytesOf(folder, file)).length, disk.bytes.length);
  for (const copy of [0, 1] as const) disk.setEntry(copy, 0, { at: first(disk.used(0)), sector: 0 });
  await setBytes(folder, file, disk.bytes);
  assert.deepEqual(
    (await checkVmdk(file, { folder })).findings.map(({ code }) => code),
    ['grains-lost'],
  );
  assert.equal(expected.length, damagedSize);
});

test('split: damage in the second file is found there and mended', async () => {
  const folder = memoryFolder();
  await createVmdk(file, { createType: 'twoGbMaxExtentSparse', size: 3 * 2 ** 30, folder });
  const opened = await openVmdk(file, { folder, writable: true });
  const bytes = noise(300_000);
  const border = 4_192_256 * 512;
  await opened.device.write(border - 1000, bytes);
  await opened.device.close();
  const piece = '/disk-s002.vmdk';
  const disk = new OpenedHosted(await bytesOf(folder, piece));
  disk.bytes.fill(0, disk.table(0, 0), disk.table(0, 0) + 2048);
  await setBytes(folder, piece, disk.bytes);
  const { findings, repairs } = await checkVmdk(file, { folder, repair: true });
  assert.deepEqual(
    findings.map(({ code, path }) => [code, path]),
    [['copies-differ', piece]],
  );
  assert.equal(repairs.length, 1);
  const again = await openVmdk(file, { folder });
  const found = new Uint8Array(bytes.length);
  await again.device.read(border - 1000, found);
  assert.deepEqual(found, bytes);
});

const cowds: Record<string, Omit<CreateVmdkOptions, 'folder'>> = {
  'a grain of a sector': { createType: 'vmfsSparse' },
  'a grain of 3 sectors': { createType: 'vmfsSparse', grainSectors: 3 },
};
const delta = '/disk-delta.vmdk';

for (const [name, options] of Object.entries(cowds)) {
  test(`COWD with ${name}: freeSector, the unclean mark and the tail are mended`, async () => {
    const { folder, expected } = await filledDisk(options);
    const bytes = await bytesOf(folder, delta);
    const freeSector = bytes.readUInt32LE(28);
    bytes.writeUInt32LE(20, 28);
    bytes.writeUInt32LE(1, 1648);
    await setBytes(folder, delta, Buffer.concat([bytes, noise(5000)]));
    assert.deepEqual(await faultsOf(folder), ['free-sector-wrong', 'unclean']);
    const { repairs, refusals } = await checkVmdk(file, { folder, repair: true });
    assert.equal(repairs.length, 3, repairs.join('\n'));
    assert.deepEqual(refusals, []);
    const after = await bytesOf(folder, delta);
    assert.ok(after.readUInt32LE(28) <= freeSector && after.readUInt32LE(28) * 512 >= after.length - 511);
    assert.deepEqual(await faultsOf(folder), []);
    assert.ok(expected.equals(await contentOf(folder)));
  });

  test(`COWD with ${name}: a table that is nowhere is told, and nothing that it may have named is given away`, async () => {
    const { folder } = await filledDisk(options);
    const bytes = await bytesOf(folder, delta);
    const entries = Array.from({ length: bytes.readUInt32LE(24) }, (_, at) => at * 4 + 2048);
    const entry = first(entries.filter((at) => bytes.readUInt32LE(at) > 0));
    bytes.writeUInt32LE(0x7fff_ffff, entry);
    bytes.writeUInt32LE(8, 28);
    await setBytes(folder, delta, bytes);
    const codes = ['directory-entry-broken', 'free-sector-wrong'];
    assert.deepEqual(await faultsOf(folder), codes);
    await checkVmdk(file, { folder, repair: true });
    const after = await bytesOf(folder, delta);
    assert.equal(after.length, bytes.length);
    assert.ok(after.readUInt32LE(28) * 512 >= bytes.length);
    assert.deepEqual(await faultsOf(folder), ['directory-entry-broken']);
  });

  test(`COWD with ${name}: two tables at one place, and a grain over a table`, async () => {
    const { folder } = await filledDisk(options);
    const whole = await bytesOf(folder, delta);
    const tables = [0, 1].map((index) => whole.readUInt32LE(2048 + index * 4));
    const bytes = Buffer.from(whole);
    bytes.writeUInt32LE(tables[0] ?? 0, 2052);
    await assertOnlyTold(folder, bytes, 'directory-entry-broken');
    const start = (tables[1] ?? 0) * 512;
    const entries = Array.from({ length: 4096 }, (_, at) => start + at * 4);
    whole.writeUInt32LE(tables[0] ?? 0, first(entries.filter((at) => whole.readUInt32LE(at) > 0)));
    await assertOnlyTold(folder, whole, 'grain-in-tables');
  });
}

async function assertOnlyTold(folder: MemoryFolder, bytes: Buffer, code: string): Promise<void> {
  await setBytes(folder, delta, bytes);
  assert.deepEqual(await faultsOf(folder), [code]);
  await checkVmdk(file, { folder, repair: true });
  assert.ok(bytes.equals(await bytesOf(folder, delta)), 'nothing was changed');
}

test('flat: a file that is too short is told, never changed', async () => {
  const { folder } = await filledDisk({ createType: 'monolithicFlat' });
  const bytes = await bytesOf(folder, '/disk-flat.vmdk');
  await setBytes(folder, '/disk-flat.vmdk', bytes.subarray(0, 5000));
  assert.deepEqual(await faultsOf(folder), ['extent-short']);
  await checkVmdk(file, { folder, repair: true });
  assert.equal((await bytesOf(folder, '/disk-flat.vmdk')).length, 5000);
  folder.files.delete('/disk-flat.vmdk');
  assert.deepEqual(await faultsOf(folder), ['extent-missing']);
});

test('seSparse: damage is told with its place, and nothing is written', async () => {
  const folder = memoryFolder();
  const sectors = 4096 * 8;
  const grains = new Map([
    [0, new Uint8Array(4096).fill(1)],
    [9, new Uint8Array(4096).fill(2)],
  ]);
  const whole = seSparseFile(sectors, grains);
  const extents = [{ access: 'RW', sectors, type: 'SESPARSE', file: 'a.vmdk', offset: 0 }] as const;
  await setBytes(
    folder,
    file,
    writeDescriptor(newDescriptor({ cid: 5, createType: 'seSparse', extents, ddb: {} })),
  );
  const damages: [string, number, bigint][] = [
    ['header-broken', 0, 1n],
    ['header-broken', 0x1000 * 512, 0x2000000000000000n],
    ['header-broken', 0x1800 * 512, 0xf000000000000000n],
    ['header-broken', 0x1800 * 512, 0x3000000000ffffffn],
    ['header-broken', seSparseReplayOffset, 1n],
  ];
  for (const [code, at, value] of damages) {
    const bytes = Buffer.from(whole);
    bytes.writeBigUInt64LE(value, at);
    await setBytes(folder, '/a.vmdk', bytes);
    const { findings, repairs } = await checkVmdk(file, { folder, repair: true });
    assert.deepEqual(
      findings.map((finding) => finding.code),
      [code],
      `at ${at}`,
    );
    assert.equal(findings[0]?.offset, at);
    assert.deepEqual(repairs, []);
    assert.ok(bytes.equals(await bytesOf(folder, '/a.vmdk')));
  }
  await setBytes(folder, '/a.vmdk', whole.subarray(0, whole.length - 100));
  assert.deepEqual(await faultsOf(folder), ['grain-beyond-end']);
});

test('a descriptor that says something else than the header', async () => {
  const { folder } = await filledDisk({ createType: 'vmfsSparse' });
  const text = await bytesOf(folder, file);
  const wanted = damagedSize / 512;
  await setBytes(folder, file, Buffer.from(text.toString().replace(`RW ${wanted}`, `RW ${wanted - 8}`)));
  assert.deepEqual(await faultsOf(folder), ['capacity-differs']);
});
