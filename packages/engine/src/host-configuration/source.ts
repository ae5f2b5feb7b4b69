/** What a backup of a host's configuration reads. */
import type { HostItem, Platform } from '@prima/platforms';
import type { BackupSource } from '../backup/source.ts';
import { filesOf, hostIdentity, type StoredConfiguration } from './stored.ts';

/** A host's configuration as it is now. @param warn is told what cannot be read */
export async function currentConfiguration(
  platform: Platform,
  warn: (text: string) => void,
): Promise<StoredConfiguration> {
  const items: HostItem[] = [];
  for await (const item of platform.hostConfiguration(warn)) items.push(item);
  return { platform: platform.kind, items };
}

/** Reads all of it at once, before the repository is asked for anything. */
export async function hostSource(platform: Platform): Promise<BackupSource> {
  const pointInTime = Date.now();
  const warnings: string[] = [];
  const configuration = await currentConfiguration(platform, (text) => void warnings.push(text));
  return {
    machine: hostIdentity(platform.name, configuration.items),
    open: async () => ({
      mode: 'hot',
      quiesced: false,
      why: [],
      pointInTime,
      disks: [],
      skipped: [],
      files: filesOf(configuration),
      verify: async () => warnings,
      succeed: async () => undefined,
      close: async () => undefined,
    }),
  };
}
