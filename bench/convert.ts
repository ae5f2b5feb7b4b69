/**
 * How fast disks go into other formats and back, beside qemu-img convert doing the same, in turn: a gigabyte of the
 * benchmark's disk. Each is a process of its own, and what it wrote is durable when its time ends.
 *
 * usage: scripts/node bench/convert.ts pack|unpack|fill|empty SOURCE TARGET   (what the benchmark runs of Prima)
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBytes, GiB, MiB, runProgram, UserError } from '@prima/base';
import { copyDevice, openRawFile } from '@prima/block';
import { copyVmdkStream, createVmdk, openVmdk, openVmdkStream, writeVmdkStreamFile } from '@prima/formats';
import { projectRoot } from '@prima/testbed';
import { type ProgramRun, runMeasured } from './program-run.ts';
import { median, renderTable, type Row } from './results.ts';

export interface ConvertBenchOptions {
  /** Room for five disks. */
  folder: string;
  /** The disk to take a gigabyte of. */
  disk: string;
  rounds: number;
}

interface Measured {
  item: string;
  prima: ProgramRun[];
  qemuImg: ProgramRun[];
  /** Of what was written. */
  primaBytes: number;
  qemuImgBytes: number;
}

const programs = ['prima', 'qemu-img'] as const;
type Program = (typeof programs)[number];

interface Conversion {
  item: string;
  source: string;
  /** Where each program writes to. */
  target: (program: Program) => string;
  prima: keyof typeof actions;
  qemuImg: readonly string[];
  /** How much faster than qemu-img we mean to be, and how much larger what is written may be. */
  wanted: { atLeast: number; size?: number };
}

const partBytes = GiB;

/** Both programs read the same files, those that qemu-img wrote. */
function conversionsIn(folder: string): Conversion[] {
  const at = (name: string) => join(folder, name);
  const stream = ['-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized'];
  return [
    {
      item: 'flat → streamOptimized',
      source: at('part.raw'),
      target: (program) => at(`${program}.vmdk`),
      prima: 'pack',
      qemuImg: stream,
      wanted: { atLeast: 3, size: 1.06 },
    },
    {
      item: 'streamOptimized → flat',
      source: at('qemu-img.vmdk'),
      target: (program) => at(`${program}.raw`),
      prima: 'unpack',
      qemuImg: ['-f', 'vmdk', '-O', 'raw'],
      wanted: { atLeast: 1 },
    },
    {
      item: 'flat → monolithicSparse',
      source: at('part.raw'),
      target: (program) => at(`${program}-sparse.vmdk`),
      prima: 'fill',
      qemuImg: ['-f', 'raw', '-O', 'vmdk'],
      wanted: { atLeast: 1, size: 1.01 },
    },
    {
      item: 'monolithicSparse → flat',
      source: at('qemu-img-sparse.vmdk'),
      target: (program) => at(`${program}.raw`),
      prima: 'empty',
      qemuImg: ['-f', 'vmdk', '-O', 'raw'],
      wanted: { atLeast: 1 },
    },
  ];
}

export async function benchConvert(options: ConvertBenchOptions): Promise<Measured[]> {
  const { folder, disk, rounds } = options;
  const part = join(folder, 'part.raw');
  await runProgram('dd', [`if=${disk}`, `of=${part}`, 'bs=1M', `count=${partBytes / MiB}`, 'conv=sparse']);
  const results: Measured[] = [];
  for (const conversion of conversionsIn(folder)) {
    const { item, target } = conversion;
    const runs = { prima: [] as ProgramRun[], 'qemu-img': [] as ProgramRun[] };
    for (let round = 0; round < rounds; round += 1) {
      const turns = round % 2 === 0 ? programs : [...programs].reverse();
      for (const program of turns) runs[program].push(await turn(program, conversion));
      if (round === 0) await compare(part, target('prima'));
    }
    const sizeOf = async (program: Program) => (await stat(target(program))).size;
    results.push({
      item,
      prima: runs.prima,
      qemuImg: runs['qemu-img'],
      primaBytes: await sizeOf('prima'),
      qemuImgBytes: await sizeOf('qemu-img'),
    });
  }
  return results;
}

/** With the source in the page cache, and nothing left to write of what was before. */
async function turn(program: Program, conversion: Conversion): Promise<ProgramRun> {
  const { source, target, prima, qemuImg } = conversion;
  const path = target(program);
  await runProgram('rm', ['-f', path]);
  await runProgram('sync', []);
  await runProgram('dd', [`if=${source}`, 'of=/dev/null', 'bs=1M']);
  if (program === 'prima') {
    const script = join(projectRoot, 'bench/convert.ts');
    return runMeasured([join(projectRoot, 'scripts/node'), script, prima, source, path]);
  }
  const script = 'target=$1; shift; qemu-img convert "$@" "$0" "$target" && sync "$target"';
  return runMeasured(['bash', '-c', script, source, path, ...qemuImg]);
}

async function compare(part: string, path: string): Promise<void> {
  const format = path.endsWith('.raw') ? 'raw' : 'vmdk';
  await runProgram('qemu-img', ['compare', '-f', 'raw', '-F', format, part, path], { timeoutMs: 600_000 });
}

export function convertRows(results: readonly Measured[]): Row[] {
  const all = conversionsIn('');
  return results.flatMap(({ item, prima, qemuImg, primaBytes, qemuImgBytes }) => {
    const { atLeast, size } = all.find((conversion) => conversion.item === item)?.wanted ?? { atLeast: 1 };
    const row = (what: string, of: (run: ProgramRun) => number): Row => {
      const [own, other] = [median(prima.map(of)), median(qemuImg.map(of))];
      return {
        item: `${item}${what}`,
        prima: `${own.toFixed(2)} s`,
        peer: 'qemu-img',
        peerFigure: `${other.toFixed(2)} s`,
        value: other / own,
        unit: what === '' ? '× as fast' : '× less',
        ...(what === '' ? { wanted: { atLeast } } : {}),
      };
    };
    const rows = [row('', (run) => run.seconds), row(': processor time', (run) => run.cpuSeconds)];
    if (size === undefined) return rows;
    const sizeRow: Row = {
      item: `${item}: size`,
      prima: formatBytes(primaBytes),
      peer: 'qemu-img',
      peerFigure: formatBytes(qemuImgBytes),
      value: primaBytes / qemuImgBytes,
      unit: '× the size',
      wanted: { atMost: size },
    };
    return [...rows, sizeRow];
  });
}

/** Every single run. */
export function renderConversions(results: readonly Measured[]): string {
  const each = (runs: readonly ProgramRun[], of: (run: ProgramRun) => number) =>
    runs.map((run) => of(run).toFixed(1)).join(' ');
  const lines = results.flatMap(({ item, prima, qemuImg }) =>
    (
      [
        ['prima', prima],
        ['qemu-img', qemuImg],
      ] as const
    ).map(([program, runs]) => [
      item,
      program,
      each(runs, (run) => run.seconds),
      each(runs, (run) => run.cpuSeconds),
      formatBytes(Math.max(...runs.map((run) => run.peakBytes))),
    ]),
  );
  return renderTable(['Conversion', 'Program', 'Seconds', 'Processor s', 'Memory'], lines);
}

async function pack(source: string, target: string): Promise<void> {
  const device = await openRawFile(source);
  try {
    await writeVmdkStreamFile(device, target);
  } finally {
    await device.close();
  }
}

async function unpack(source: string, target: string): Promise<void> {
  const stream = await openVmdkStream(createReadStream(source, { highWaterMark: MiB }), { name: source });
  const device = await openRawFile(target, { create: { size: stream.size } });
  try {
    await copyVmdkStream(stream, device, { targetIsZero: true });
    await device.flush();
  } finally {
    await device.close();
  }
}

async function fill(source: string, target: string): Promise<void> {
  const device = await openRawFile(source);
  await createVmdk(target, { createType: 'monolithicSparse', size: device.size });
  const { device: disk } = await openVmdk(target, { writable: true });
  await copyDevice(device, disk, { targetIsZero: true });
  await disk.flush();
  await disk.close();
  await device.close();
}

async function empty(source: string, target: string): Promise<void> {
  const { device } = await openVmdk(source);
  const flat = await openRawFile(target, { create: { size: device.size } });
  await copyDevice(device, flat, { targetIsZero: true });
  await flat.flush();
  await flat.close();
  await device.close();
}

const actions = { pack, unpack, fill, empty };

if (import.meta.main) {
  const [what = '', source = '', target = ''] = process.argv.slice(2);
  const action = Object.entries(actions).find(([name]) => name === what)?.[1];
  if (!action) throw new UserError('usage', `"${what}" is not one of ${Object.keys(actions).join(', ')}`);
  await action(source, target);
}
