/** Puts a host's configuration back, item by item: what is absent is defined, what is there is left alone unless told. */
import { PrimaError, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import type { HostItem, Platform } from '@prima/platforms';
import { itemChanges } from './compare.ts';
import { currentConfiguration } from './source.ts';
import type { StoredConfiguration } from './stored.ts';

export interface RestoreConfigurationOptions {
  /** Names of items (`networks/default`), or of all below (`networks`, `etc/libvirt/hooks`). Default: all but files. */
  only?: readonly string[];
  /** Replace what is there and different. */
  replace?: boolean;
  /** Only say what would be done. */
  dryRun?: boolean;
  signal?: AbortSignal;
}

export interface RestoredItem {
  item: string;
  /** `kept`: it is there and different; `left-out`: it is not put back. */
  action: 'defined' | 'replaced' | 'same' | 'kept' | 'left-out' | 'failed';
  notes: string[];
}

interface Planned {
  item: HostItem;
  replaces?: HostItem;
}

/**
 * Raises `unsupported` for hosts of another kind or without a configuration to put back, `not-found` for a name in `only` that
 * fits nothing. Items that the host refuses are in the answer; it may be run again.
 */
export async function restoreConfiguration(
  stored: StoredConfiguration,
  platform: Platform,
  options: RestoreConfigurationOptions = {},
): Promise<RestoredItem[]> {
  const { configurations } = platform;
  if (!configurations || platform.kind !== stored.platform) {
    throw new PrimaError(
      'unsupported',
      `${platform.name} is a ${platform.kind} host: the configuration of a ${stored.platform} host cannot be put back there; restore its files to a folder (--to)`,
    );
  }
  const chosen = chosenItems(stored.items, options.only);
  const there = new Map(
    (await currentConfiguration(platform, () => undefined)).items.map((item) => [item.name, item]),
  );
  const results: RestoredItem[] = [];
  const planned: Planned[] = [];
  for (const item of chosen) {
    const why = configurations.whyNotPut(item) ?? whyNotUnasked(item, options.only);
    const now = there.get(item.name);
    const done = (action: RestoredItem['action'], ...notes: string[]) =>
      void results.push({ item: item.name, action, notes });
    if (now && itemChanges(item, now).length === 0) done('same');
    else if (why !== undefined) done('left-out', why);
    else if (now && !options.replace)
      done('kept', 'it is there and different (prima host diff): --replace puts it back');
    else planned.push({ item, ...(now ? { replaces: now } : {}) });
  }
  results.push(...(options.dryRun ? planned.map(wouldBe) : await putAll(planned, platform, options.signal)));
  return results.sort((a, b) => (a.item < b.item ? -1 : 1));
}

/** Files rule the whole host, and the daemon may fail to start with one that is wrong for it: they are asked for by name. */
function whyNotUnasked({ name }: HostItem, only: readonly string[] | undefined): string | undefined {
  if (only !== undefined || !name.startsWith('etc/')) return undefined;
  return `a file: --only ${name} puts it back`;
}

function chosenItems(items: readonly HostItem[], only: readonly string[] | undefined): HostItem[] {
  if (only === undefined) return [...items];
  const fits = (name: string, choice: string) =>
    name === choice || name.startsWith(`${choice.replace(/\/$/, '')}/`);
  for (const choice of only) {
    if (items.some(({ name }) => fits(name, choice))) continue;
    const names = items.map(({ name }) => name).join(', ');
    throw new UserError('not-found', `the point has no "${choice}"; it has ${names}`);
  }
  return items.filter(({ name }) => only.some((choice) => fits(name, choice)));
}

const wouldBe = ({ item, replaces }: Planned): RestoredItem => ({
  item: item.name,
  action: replaces ? 'replaced' : 'defined',
  notes: [],
});

/** What is refused is tried again after the others, as long as that helps: filters refer to filters, pools to secrets. */
async function putAll(
  planned: readonly Planned[],
  platform: Platform,
  signal: AbortSignal | undefined,
): Promise<RestoredItem[]> {
  const results: RestoredItem[] = [];
  let left = [...planned];
  for (;;) {
    const failed: { plan: Planned; why: string }[] = [];
    for (const plan of left) {
      throwIfAborted(
        signal,
        `restoring the configuration of ${platform.name} (${results.length} items are done)`,
      );
      try {
        const { item, replaces } = plan;
        const notes = (await platform.configurations?.put(item, replaces ? { replaces } : {})) ?? [];
        results.push({ item: item.name, action: replaces ? 'replaced' : 'defined', notes });
      } catch (error) {
        const failure = toPrimaError(error, `putting ${plan.item.name} back`);
        if (failure.code === 'internal' || failure.code === 'cancelled') throw failure;
        failed.push({ plan, why: failure.message });
      }
    }
    if (failed.length === 0) return results;
    if (failed.length === left.length) {
      const rest = failed.map(({ plan, why }) => ({
        item: plan.item.name,
        action: 'failed' as const,
        notes: [why],
      }));
      return [...results, ...rest];
    }
    left = failed.map(({ plan }) => plan);
  }
}
