/** A repository is made in an empty place. What a creation left that died before it wrote `config` is no repository. */
import { type Clock, type Logger, PrimaError } from '@prima/base';
import type { ObjectStore } from '@prima/storage';

/** So long after its last sign of life a creation is taken for dead. */
const abandonedMs = 5 * 60_000;

/**
 * Raises `exists` unless the store is empty. Keys without anything that they open, older than five minutes, are those of a
 * creation that died, and are removed.
 */
export async function prepareEmptyPlace(store: ObjectStore, clock: Clock, logger: Logger): Promise<void> {
  const left: string[] = [];
  let newest = 0;
  for await (const { key, modified } of store.list('')) {
    if (!/^(?:keys|keyset)\//.test(key)) {
      const what = key === 'config' ? 'a repository' : `other things (${key})`;
      throw new PrimaError(
        'exists',
        `${store.url} holds ${what} already; a repository is made in an empty place`,
      );
    }
    left.push(key);
    newest = Math.max(newest, modified);
  }
  if (left.length === 0) return;
  if (clock.now() - newest < abandonedMs) {
    throw new PrimaError(
      'exists',
      `somebody is making a repository in ${store.url}, or began to minutes ago and failed; try again in five minutes, or empty the place`,
    );
  }
  logger.info(`removing the keys that an unfinished "prima init" left in ${store.url}`);
  for (const key of left.toSorted()) await store.delete(key);
}
