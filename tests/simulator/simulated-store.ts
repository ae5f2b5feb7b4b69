/** The simulated disk as an ObjectStore of one process: each part of a call that others can come between is a step of its own. */
import { type Random, StorageError } from '@prima/base';
import type { ObjectInfo, ObjectRange, ObjectStore } from '@prima/storage';
import type { Scheduler, SimulatedProcess } from './scheduler.ts';
import type { SimulatedDisk, StoredObject } from './simulated-disk.ts';

export interface StoreParts {
  disk: SimulatedDisk;
  scheduler: Scheduler;
  random: Random;
  /** Told of every change, before it is done; raises when it must not be. */
  onChange: (change: { key: string; isDeletion: boolean }) => void;
}

/** Names that one look at a folder gives; what happens between two looks may or may not be seen. */
const pageKeys = 6;

export function simulatedStore(process: SimulatedProcess, parts: StoreParts): ObjectStore {
  const { disk, scheduler, random, onChange } = parts;
  const step = <T>(label: string, task: () => T) => scheduler.call(process, label, task);
  const infoOf = (key: string): ObjectInfo | undefined => {
    const object = disk.get(key);
    return object && { key, size: object.bytes.length, modified: object.modified };
  };
  const existing = (key: string): StoredObject => {
    const object = disk.get(key);
    if (!object) throw new StorageError('not-found', `there is no ${key}`, { details: { key } });
    return object;
  };
  const part = (key: string, range?: ObjectRange): Uint8Array => {
    const { bytes } = existing(key);
    // LocalStore makes durable what it reads; where the order is kept it would not need to, and leaving it out is harsher
    if (!disk.isOrdered) disk.syncFolder(key);
    const { offset, length } = range ?? { offset: 0, length: bytes.length };
    if (offset + length > bytes.length)
      throw new StorageError('integrity', `${key} has ${bytes.length} bytes`, { details: { key } });
    return bytes.subarray(offset, offset + length);
  };
  return {
    url: 'simulated',
    putIfAbsent: async (key, body) => {
      const bytes = Buffer.concat(body instanceof Uint8Array ? [body] : body);
      const isNew = await step(`links ${key}`, () => {
        if (disk.get(key)) return false;
        onChange({ key, isDeletion: false });
        return disk.link(key, { bytes, modified: scheduler.now });
      });
      await step(`syncs ${key}`, () => disk.syncFolder(key));
      return isNew ? 'created' : 'exists';
    },
    get: (key, range) => step(`reads ${key}`, () => Uint8Array.from(part(key, range))),
    readInto: (key, offset, into) =>
      step(`reads ${key}`, () => into.set(part(key, { offset, length: into.length }))),
    stat: (key) => step(`looks for ${key}`, () => infoOf(key)),
    list: async function* (prefix) {
      for (let after = ''; ; ) {
        const page = await step(`lists ${prefix} after ${after.slice(prefix.length)}`, () =>
          disk.keys(prefix, after).slice(0, 1 + random.below(pageKeys)),
        );
        const last = page.at(-1);
        if (last === undefined) return;
        for (const key of page) {
          const info = infoOf(key);
          if (info) yield info;
        }
        after = last;
      }
    },
    delete: async (key) => {
      await step(`unlinks ${key}`, () => {
        if (!disk.get(key)) return;
        onChange({ key, isDeletion: true });
        disk.unlink(key);
      });
      await step(`syncs ${key}`, () => disk.syncFolder(key));
    },
    close: async () => undefined,
  };
}
