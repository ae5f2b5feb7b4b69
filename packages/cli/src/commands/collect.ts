/** `prima collect`: frees the room of what no point needs. */
import type { CollectResult } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseDuration, parseShare, parseSize } from '../options.ts';
import { count } from '../render/point.ts';
import type { Page } from '../terminal/style.ts';
import { printable } from '../terminal/width.ts';

interface CollectOptions {
  dryRun?: boolean;
  wait?: number;
  maxDeleteShare?: number;
  maxRewrite?: number;
  dropInterrupted?: boolean;
}

export function registerCollect(program: Command, cli: Cli): void {
  program
    .command('collect')
    .description('free the room of what no point needs; backups may go on meanwhile')
    .option('--dry-run', 'only say what would be freed')
    .option('--wait <time>', 'how long to wait for running backups: 90s, 10m, 2h', parseDuration)
    .option('--max-delete-share <share>', 'refuse to free more than this share, 0.8 for 80%', parseShare)
    .option('--max-rewrite <size>', 'copy at most so much out of packs that are partly dead', parseSize)
    .option('--drop-interrupted', 'also free what interrupted backups had stored')
    .action(
      cli.action({ repository: true }, async (invocation, options: CollectOptions) => {
        const { dryRun, wait, maxDeleteShare, maxRewrite, dropInterrupted } = options;
        const request = {
          ...(dryRun && { dryRun }),
          ...(wait !== undefined && { waitMs: wait }),
          ...(maxDeleteShare !== undefined && { maxDeleteShare }),
          ...(dropInterrupted && { dropInterrupted }),
          ...(maxRewrite !== undefined && { maxRewriteBytes: maxRewrite }),
        };
        const result = await invocation.call((api, call) => api.collect(request, call));
        invocation.result(result, (page) => rendered(result, page));
      }),
    );
}

function rendered(result: CollectResult, page: Page): string {
  const { dryRun, packs, packsDeleted, packsRewritten, bytesFreed, bytesLive, sessionsRemoved, postponed } =
    result;
  return [
    ...result.fenced.map(
      ({ session, why }) =>
        `${page.paint('yellow', '!')} gave up on session ${printable(session)}: ${printable(why)}`,
    ),
    ...result.notes.map((note) => `- ${printable(note)}`),
    `${dryRun ? 'Would free' : 'Freed'} ${formatBytes(bytesFreed)}: of ${count(packs, 'pack')}, ` +
      `${packsDeleted} deleted, ${packsRewritten} rewritten; ${formatBytes(bytesLive)} in use; ` +
      `${count(sessionsRemoved, 'old session')} removed`,
    ...(postponed.packs > 0
      ? [
          `${count(postponed.packs, 'pack')} more with ${formatBytes(postponed.dead)} to free ` +
            `${postponed.packs === 1 ? 'is' : 'are'} left for another time: --max-rewrite allows no more`,
        ]
      : []),
  ].join('\n');
}
