/**
 * What an open repository knows to be damaged: what the damaged lists of the store say, and what was found
 * since. Advice for choosing places, never the last word: a blob that opens is right. Pure.
 */
import { hexOf } from '../format/hex-id.ts';
import type { PackKind } from '../format/pack.ts';

/** One entry of a damaged list: see "Damage" of the format. */
export interface DamageEntry {
  /** 64 hex digits; absent: the ids are in no pack. */
  pack?: string;
  kind?: PackKind;
  /** 64 hex digits each; `all`: the pack is missing, or nothing in it can be read. */
  ids: string[] | 'all';
  why: string;
}

interface PackDamage {
  kind: PackKind;
  ids: Set<string> | 'all';
  why: string;
}

/** Damage by pack, merged from any number of entries. */
export class DamageSet {
  readonly packs = new Map<string, PackDamage>();
  /** Ids that are in no pack, and why. */
  readonly missing = new Map<string, string>();

  get isEmpty(): boolean {
    return this.packs.size === 0 && this.missing.size === 0;
  }

  add({ pack, kind = 'data', ids, why }: DamageEntry): void {
    if (pack === undefined) {
      if (ids !== 'all') for (const id of ids) this.missing.set(id, why);
      return;
    }
    const known = this.packs.get(pack);
    if (ids === 'all') this.packs.set(pack, { kind, ids, why });
    else if (known === undefined) this.packs.set(pack, { kind, ids: new Set(ids), why });
    else if (known.ids !== 'all') for (const id of ids) known.ids.add(id);
  }

  has(pack: string, id: Uint8Array): boolean {
    const ids = this.packs.get(pack)?.ids;
    return ids === 'all' || (ids?.has(hexOf(id)) ?? false);
  }

  /** What of `entry` is not here yet; undefined when all of it is. */
  newIn(entry: DamageEntry): DamageEntry | undefined {
    const known = entry.pack === undefined ? this.missing : this.packs.get(entry.pack)?.ids;
    if (known === undefined) return entry;
    if (known === 'all') return undefined;
    if (entry.ids === 'all') return entry;
    const ids = entry.ids.filter((id) => !known.has(id));
    return ids.length === 0 ? undefined : { ...entry, ids };
  }

  /** Whether both speak of the same places, whatever the reasons. */
  equals(other: DamageSet): boolean {
    const isSame = (a: PackDamage['ids'], b: PackDamage['ids'] | undefined) =>
      a === 'all' || b === 'all' ? a === b : b?.size === a.size && a.isSubsetOf(b);
    return (
      this.packs.size === other.packs.size &&
      this.missing.size === other.missing.size &&
      [...this.packs].every(([name, { ids }]) => isSame(ids, other.packs.get(name)?.ids)) &&
      [...this.missing.keys()].every((id) => other.missing.has(id))
    );
  }

  entries(): DamageEntry[] {
    const entries: DamageEntry[] = [...this.packs].map(([pack, { kind, ids, why }]) => ({
      pack,
      kind,
      ids: ids === 'all' ? ids : [...ids],
      why,
    }));
    const reasons = Map.groupBy(this.missing, ([, why]) => why);
    for (const [why, ids] of reasons) entries.push({ ids: ids.map(([id]) => id), why });
    return entries;
  }
}

/** Shared by everything that works on one open repository. */
export class DamageRegister {
  #recorded = new DamageSet();
  #noted = new DamageSet();
  #revision = 0;

  /** Another number whenever something was noted that was not known: what places were chosen by may be out of date. */
  get revision(): number {
    return this.#revision;
  }

  get isEmpty(): boolean {
    return this.#recorded.isEmpty && this.#noted.isEmpty;
  }

  /** Whether the blob is known not to be readable in this pack. */
  has(pack: string, id: Uint8Array): boolean {
    return this.#recorded.has(pack, id) || this.#noted.has(pack, id);
  }

  /** Whether it is known that no pack holds the blob. */
  isMissing(id: Uint8Array): boolean {
    if (this.#recorded.missing.size + this.#noted.missing.size === 0) return false;
    const hex = hexOf(id);
    return this.#recorded.missing.has(hex) || this.#noted.missing.has(hex);
  }

  /** Remembers damage that was found just now. */
  note(entry: DamageEntry): void {
    const unrecorded = this.#recorded.newIn(entry);
    const fresh = unrecorded && this.#noted.newIn(unrecorded);
    if (!fresh) return;
    this.#noted.add(fresh);
    this.#revision += 1;
  }

  /** What was noted and is in no list yet. */
  unrecorded(): DamageEntry[] {
    return this.#noted.entries().flatMap((entry) => this.#recorded.newIn(entry) ?? []);
  }

  /** All that is known. */
  all(): DamageSet {
    const all = new DamageSet();
    for (const entry of [...this.#recorded.entries(), ...this.#noted.entries()]) all.add(entry);
    return all;
  }

  /** Takes over what the lists of the store say now. */
  setRecorded(entries: Iterable<DamageEntry>): void {
    const recorded = new DamageSet();
    for (const entry of entries) recorded.add(entry);
    this.#recorded = recorded;
  }

  /** Takes over the result of a look at everything, which replaces what was known before. */
  replace(entries: Iterable<DamageEntry>): void {
    this.setRecorded([]);
    this.#noted = new DamageSet();
    for (const entry of entries) this.#noted.add(entry);
  }
}
