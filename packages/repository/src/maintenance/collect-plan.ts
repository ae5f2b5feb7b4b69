/** What a collection would do: which packs go, which are rewritten, what that frees. Pure but for its listing. */
import { formatBytes, PrimaError } from '@prima/base';
import type { Context } from '../context.ts';
import type { CollectReport } from '../contract.ts';
import { packEntryBytes, packHeader, type PackKind, packTrailerBytes, parsePackKey } from '../format/pack.ts';
import type { Survey } from './survey.ts';

/** A pack is rewritten of which more than this share is dead, and so many bytes. */
const deadShare = 0.2;
const deadBytes = 4096;

export interface ListedPack {
  kind: PackKind;
  size: number;
}

export interface Plan {
  /** Packs without a live blob. */
  dead: Set<string>;
  /** Packs whose live blobs are copied before they are deleted, in this round and (within the budget) in later ones. */
  rewrite: Set<string>;
  later: Set<string>[];
  /** Packs that no segment speaks of. */
  orphans: Set<string>;
  /** Live bytes to be copied out of `rewrite` in this round. */
  rewriteBytes: number;
  /** Live bytes, and dead ones, of packs that would be rewritten but for the budget. */
  postponed: { packs: number; live: number; dead: number };
}

export async function listPacks(context: Context): Promise<Map<string, ListedPack>> {
  const packs = new Map<string, ListedPack>();
  for await (const { key, size } of context.store.list('packs/')) {
    const pack = parsePackKey(key);
    if (pack) packs.set(pack.name, { kind: pack.kind, size });
  }
  return packs;
}

export interface Budget {
  /** Live bytes that may be copied in all. */
  total: number;
  /** Live bytes that are copied in one round. */
  round: number;
}

/**
 * The packs with the least live share come first.
 * @param kept packs that cannot be deleted: they stay as they are
 */
export function planOf(
  now: Survey,
  listed: ReadonlyMap<string, ListedPack>,
  budget: Budget,
  kept: ReadonlyMap<string, number> = new Map(),
): Plan {
  const plan: Plan = {
    dead: new Set(),
    rewrite: new Set(),
    later: [],
    orphans: new Set(),
    rewriteBytes: 0,
    postponed: { packs: 0, live: 0, dead: 0 },
  };
  const partly: { name: string; live: number; size: number }[] = [];
  for (const [number, { name, size }] of now.index.packs.entries()) {
    const live = now.livePerPack[number] ?? 0;
    const dead = deadIn(size, live, now.liveBlobs[number] ?? 0);
    if (now.spoilt.has(number) || now.hidden.length > 0 || now.heldUntil > 0) continue; // see "Damage" of the format
    if (kept.has(name)) continue;
    if (live === 0) plan.dead.add(name);
    else if (now.damaged.has(name) || dead > Math.max(size * deadShare, deadBytes)) {
      partly.push({ name, live, size });
    }
  }
  partly.sort((a, b) => a.live / a.size - b.live / b.size || (a.name < b.name ? -1 : 1));
  let inRound = 0;
  let total = 0;
  for (const { name, live, size } of partly) {
    if (total + live > budget.total) {
      plan.postponed.packs += 1;
      plan.postponed.live += live;
      plan.postponed.dead += size - live;
      continue;
    }
    total += live;
    if (inRound > 0 && inRound + live > budget.round) {
      plan.later.push(new Set());
      inRound = 0;
    }
    inRound += live;
    (plan.later.at(-1) ?? plan.rewrite).add(name);
    if (plan.later.length === 0) plan.rewriteBytes = inRound;
  }
  for (const name of listed.keys()) {
    if (!now.index.hasPack(name) && !kept.has(name)) plan.orphans.add(name);
  }
  return plan;
}

/** Bytes of a pack that are neither live blobs nor what any pack needs to hold them. */
function deadIn(size: number, live: number, blobs: number): number {
  return size - live - packHeader.length - packTrailerBytes - blobs * packEntryBytes;
}

/** The `refused` to raise when more than `maxShare` of the packs' bytes would go without being copied. */
export function whyTooMuch(
  plan: Plan,
  listed: ReadonlyMap<string, ListedPack>,
  maxShare: number,
): PrimaError | undefined {
  let total = 0;
  let going = 0;
  for (const [name, { size }] of listed) {
    total += size;
    if (plan.dead.has(name) || plan.orphans.has(name)) going += size;
  }
  if (total === 0 || going / total <= maxShare) return undefined;
  const percent = Math.round((going / total) * 100);
  return new PrimaError(
    'refused',
    `the collection would delete ${percent} % of the repository, more than the ${Math.round(maxShare * 100)} % allowed; if that is right, allow it with --max-delete-share ${(Math.ceil((going / total) * 100) / 100).toFixed(2)}`,
    { details: { share: going / total } },
  );
}

/**
 * The report of a plan that is carried out.
 * @param copied bytes of the packs that live blobs are copied to
 */
export function reportOf(
  now: Survey,
  plan: Plan,
  more: { listed: ReadonlyMap<string, ListedPack>; dryRun: boolean; copied: number },
): CollectReport {
  const { listed, dryRun, copied } = more;
  let bytesFreed = 0;
  for (const name of [...plan.dead, ...plan.rewrite, ...plan.orphans]) {
    bytesFreed += listed.get(name)?.size ?? 0;
  }
  const notes: string[] = [];
  if (plan.orphans.size > 0) notes.push(`${plan.orphans.size} packs of sessions that never ended`);
  if (now.interruptedBytes > 0) {
    notes.push(
      `${formatBytes(now.interruptedBytes)} are kept for backups that are under way or were interrupted within 14 days; ` +
        '--drop-interrupted frees them',
    );
  }
  return {
    dryRun,
    packs: listed.size,
    packsDeleted: plan.dead.size + plan.orphans.size,
    packsRewritten: plan.rewrite.size,
    bytesFreed: bytesFreed - copied,
    bytesLive: now.livePerPack.reduce((sum, live) => sum + live, 0),
    postponed: plan.postponed,
    sessionsRemoved: now.forgotten.length,
    fenced: [],
    notes,
  };
}
