/**
 * First backup, backup of an unchanged disk, and restore: every contender in turn, each in a folder of its
 * own, round after round, so that what disturbs the machine disturbs all of them.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Logger, runProgram } from '@prima/base';
import { type Contender, storedBytes } from './contenders.ts';
import type { ProgramRun } from './program-run.ts';

export const stages = ['backup', 'unchanged', 'restore'] as const;
export type Stage = (typeof stages)[number];

/** What one contender did in all rounds. */
export interface Entry {
  runs: Record<Stage, ProgramRun[]>;
  storedBytes: number[];
}

export interface RaceOptions {
  folder: string;
  disk: string;
  rounds: number;
  /** Restores and repeated backups need the first backup; it is then made and counted all the same. */
  stages: readonly Stage[];
  log: Logger;
  /** Called with each contender's folder of a round before that is removed. */
  afterRound?: (name: string, folder: string) => Promise<void>;
}

export async function race(
  contenders: readonly Contender[],
  options: RaceOptions,
): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>(
    contenders.map(({ name }) => [
      name,
      { runs: { backup: [], unchanged: [], restore: [] }, storedBytes: [] },
    ]),
  );
  for (let round = 0; round < options.rounds; round += 1) {
    for (const stage of stages) {
      if (stage !== 'backup' && !options.stages.includes(stage)) continue;
      for (const [index, contender] of contenders.entries()) {
        // each round begins with another one
        const turn = contenders[(index + round) % contenders.length] ?? contender;
        const entry = entries.get(turn.name);
        if (entry) await runStage(stage, turn, { entry, round, options });
      }
    }
    for (const name of entries.keys()) {
      const own = folderOf(options, name);
      await options.afterRound?.(name, own);
      await rm(own, { recursive: true });
    }
  }
  return entries;
}

function folderOf({ folder }: RaceOptions, name: string): string {
  return join(folder, name.replaceAll(/[^a-z0-9]+/g, '-'));
}

async function runStage(
  stage: Stage,
  contender: Contender,
  { entry, round, options }: { entry: Entry; round: number; options: RaceOptions },
): Promise<void> {
  const { disk, log } = options;
  const folder = folderOf(options, contender.name);
  if (stage === 'backup') {
    await mkdir(folder);
    await contender.prepare(folder);
  }
  await settle(disk);
  let run: ProgramRun | undefined;
  if (stage === 'backup') {
    run = await contender.backup(folder, disk);
    entry.storedBytes.push(await storedBytes(join(folder, 'repository')));
  } else if (stage === 'unchanged') {
    run = await contender.again?.(folder, disk);
  } else if (contender.restore) {
    const target = join(folder, 'restored');
    await mkdir(target);
    const restored = await contender.restore(folder, disk, target);
    // once is enough: later rounds restore what the same program wrote
    if (round === 0) await runProgram('cmp', [disk, restored.path], { timeoutMs: 600_000 });
    await rm(target, { recursive: true });
    run = restored;
  }
  if (!run) return;
  entry.runs[stage].push(run);
  const { seconds, cpuSeconds } = run;
  log.info(`${contender.name}: ${stage} ${seconds.toFixed(1)} s, processor ${cpuSeconds.toFixed(1)} s`);
}

/** Nothing left to write from before, and the source in the page cache. */
async function settle(disk: string): Promise<void> {
  await runProgram('sync', [], { timeoutMs: 300_000 });
  await runProgram('dd', [`if=${disk}`, 'of=/dev/null', 'bs=1M', 'status=none'], { timeoutMs: 300_000 });
}
