/** Reading a .vmx and knowing which keys were read. */
import { parseBelow, parseWhole } from '../machine/numbers.ts';
import { isVmxTrue } from './settings.ts';
import type { Vmx } from './vmx.ts';

export class VmxReading {
  readonly vmx: Vmx;
  readonly #seen = new Set<string>();

  constructor(vmx: Vmx) {
    this.vmx = vmx;
  }

  /** Undefined where the key is absent or blank. */
  get(key: string): string | undefined {
    this.#seen.add(key.toLowerCase());
    const value = this.vmx.get(key);
    return value === undefined || value.trim() === '' ? undefined : value;
  }

  isTrue(key: string): boolean {
    return isVmxTrue(this.get(key));
  }

  whole(key: string): number | undefined {
    return parseWhole(this.get(key), `.vmx: ${key}`);
  }

  below(key: string, limit: number): number | undefined {
    return parseBelow(this.get(key), limit, `.vmx: ${key}`);
  }

  /** Counts keys as read: they say nothing. */
  settle(...keys: readonly string[]): void {
    for (const key of keys) this.#seen.add(key.toLowerCase());
  }

  /** Takes back: what the key says has no place. */
  unread(key: string): void {
    this.#seen.delete(key.toLowerCase());
  }

  /** The different numbers of `ethernet0.…`, `scsi12.…`, ascending. */
  indices(device: string): number[] {
    const pattern = new RegExp(`^${device}(\\d{1,3})[.:]`, 'i');
    const found = [...this.vmx.keys()].flatMap((key) => pattern.exec(key)?.[1] ?? []);
    return [...new Set(found.map(Number))].sort((a, b) => a - b);
  }

  /** What was not read, keys of one kind of device together: `pciBridge` and its keys. */
  unreadGroups(): Map<string, string[]> {
    const groups = new Map<string, string[]>();
    for (const key of this.vmx.keys()) {
      if (this.#seen.has(key.toLowerCase())) continue;
      const group = key.replace(/[.:].*$/, '').replace(/\d+$/, '') || key;
      groups.set(group, [...(groups.get(group) ?? []), key]);
    }
    return groups;
  }
}
