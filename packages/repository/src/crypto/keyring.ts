/** The keys of an open repository: what its slot gave, the newest key set, and what seals, opens and signs with it. */
import {
  FormatError,
  inOrder,
  IntegrityError,
  type Logger,
  PrimaError,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import type { Secret } from '../contract.ts';
import { keySetKey, type KeySet, maxKeySets, openKeySet, sealingKeys } from './key-set.ts';
import { type KeySlot, parseKeySlot, slotKey, type SlotContent, unwrapSlot } from './key-slot.ts';
import { Opener, Sealer, type SealingKeys } from './sealer.ts';
import { RecordSigner, signerOf } from './signature.ts';

/** Each slot may cost an Argon2id to try: a hostile store must not make opening last for ever. */
export const maxSlots = 64;
const slotsAtOnce = 8;

/** What the store has under `keys/`. */
export interface StoredSlots {
  slots: { slot: KeySlot; text: string }[];
  /** Objects that are no key slots, or slots of a later version. */
  damaged: { key: string; error: PrimaError }[];
}

/** With the newest key set, closed. */
export interface StoredKeys extends StoredSlots {
  number: number;
  keySetText: string;
}

export interface OpenedKeys {
  repositoryId: string;
  slotId: string;
  content: SlotContent;
  keySet: KeySet;
  /** zstd level. */
  level: number;
}

export class Keyring {
  readonly repositoryId: string;
  /** One object for good; a newer key set changes what is in it. */
  readonly keys: SealingKeys;
  readonly opener: Opener;
  readonly #store: ObjectStore;
  readonly #asked = new Set<number>();
  #slotId: string;
  #content: SlotContent;
  #keySet: KeySet;
  #sealer: Sealer;
  #refreshing: Promise<void> | undefined;

  constructor(store: ObjectStore, opened: OpenedKeys) {
    const { repositoryId, slotId, content, keySet, level } = opened;
    this.repositoryId = repositoryId;
    this.#slotId = slotId;
    this.#content = content;
    this.#store = store;
    this.#keySet = keySet;
    this.keys = sealingKeys(keySet, repositoryId, level);
    this.#sealer = new Sealer(this.keys);
    this.opener = new Opener(this.keys);
  }

  /** The slot that opened the repository. */
  get slotId(): string {
    return this.#slotId;
  }

  get content(): SlotContent {
    return this.#content;
  }

  get keySet(): KeySet {
    return this.#keySet;
  }

  /** For small metadata on this thread; with the epoch in force. */
  get sealer(): Sealer {
    return this.#sealer;
  }

  /** Signs records. Raises `refused` when the repository was opened with a key that may only read. */
  signer(doing = 'writing to the repository'): RecordSigner {
    const { seed } = this.#keySet;
    if (seed) return new RecordSigner(seed);
    throw new UserError(
      'refused',
      `${doing}: the key that opened the repository may only read; open it with another one`,
    );
  }

  /** Reads the newest key set. Raises `wrong-key` when it is not under this root key any more. */
  async refresh(): Promise<void> {
    this.#refreshing ??= this.#readNewest().finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  /** Makes sure that the epoch of a stored blob is known, as far as it can be; asks the store once for each. */
  async learnEpochOf(blob: Uint8Array): Promise<void> {
    if (blob.length < 12) return;
    const epoch = new DataView(blob.buffer, blob.byteOffset).getUint32(8, true);
    if (this.keys.epochs.some((entry) => entry.epoch === epoch) || this.#asked.has(epoch)) return;
    if (this.#asked.size >= 1024) return; // no repository has so many: these are invented
    this.#asked.add(epoch);
    await this.refresh();
  }

  /** Takes over a root key that was just made, with the slot and the key set behind it. */
  adoptRoot({ slotId, content, keySet }: Pick<OpenedKeys, 'slotId' | 'content' | 'keySet'>): void {
    this.#slotId = slotId;
    this.#content = content;
    this.adopt(keySet);
  }

  /** Takes over a key set that was just made. */
  adopt(keySet: KeySet): void {
    this.#keySet = keySet;
    this.keys.epochs.splice(0, Infinity, ...keySet.epochs);
    if (this.keys.epoch === keySet.epoch) return;
    this.keys.epoch = keySet.epoch;
    this.#sealer = new Sealer(this.keys);
  }

  async #readNewest(): Promise<void> {
    const number = await newestKeySet(this.#store);
    if (number <= this.#keySet.number) return;
    const text = Buffer.from(await this.#store.get(keySetKey(number))).toString();
    const keySet = openKeySet(text, this.#content, { number, repositoryId: this.repositoryId });
    if (!keySet) {
      throw new PrimaError(
        'wrong-key',
        `the root key of ${this.#store.url} was replaced since it was opened; open it again, with a key that still fits`,
      );
    }
    this.adopt(keySet);
  }
}

/** Number of the newest key set. Raises `integrity` when there is none or one is missing. */
async function newestKeySet(store: ObjectStore): Promise<number> {
  let number = 0;
  for await (const { key } of store.list('keyset/', { namesOnly: true, fresh: true })) {
    number += 1;
    if (key !== keySetKey(number) || number > maxKeySets)
      throw new IntegrityError(`${store.url} has ${key} where ${keySetKey(number)} should be`);
  }
  if (number === 0) throw new IntegrityError(`${store.url} has no key set: ${keySetKey(1)} is missing`);
  return number;
}

export async function readSlots(store: ObjectStore): Promise<StoredSlots> {
  const keys: string[] = [];
  for await (const { key } of store.list('keys/', { namesOnly: true, fresh: true })) {
    if (keys.push(key) > maxSlots)
      throw new IntegrityError(`${store.url} has more than ${maxSlots} key slots`);
  }
  const slots: StoredSlots['slots'] = [];
  const damaged: StoredSlots['damaged'] = [];
  const read = async (key: string) => ({ key, text: Buffer.from(await store.get(key)).toString() });
  for await (const { key, text } of inOrder(keys, slotsAtOnce, read)) {
    try {
      const slot = parseKeySlot(text, key);
      if (key !== slotKey(slot.id)) throw new FormatError(`${key} holds the key slot ${slot.id}`);
      slots.push({ slot, text });
    } catch (error) {
      damaged.push({ key, error: toPrimaError(error, `reading ${key}`) });
    }
  }
  return { slots, damaged };
}

/** What opens a repository, as it is stored; asked for side by side, for each answer of a distant store takes its time. */
export async function readStoredKeys(store: ObjectStore): Promise<StoredKeys> {
  const [slots, keySet] = await Promise.all([readSlots(store), readNewestKeySet(store)]);
  return { ...slots, ...keySet };
}

async function readNewestKeySet(store: ObjectStore): Promise<Pick<StoredKeys, 'number' | 'keySetText'>> {
  const number = await newestKeySet(store);
  return { number, keySetText: Buffer.from(await store.get(keySetKey(number))).toString() };
}

/** True when a writer of the repository made the slot as it is, and the root key has not been replaced since. */
export function isGenuine(slot: { slot: KeySlot; text: string }, keyring: Keyring): boolean {
  const scope = { repositoryId: keyring.repositoryId, objectKey: slotKey(slot.slot.id) };
  return signerOf(slot.text, scope, keyring.keySet.signers.slice(-1)) !== undefined;
}

/** True for a slot of an earlier root key, which a rotation has not come to delete. */
export function isStale(slot: { slot: KeySlot; text: string }, keyring: Keyring): boolean {
  const scope = { repositoryId: keyring.repositoryId, objectKey: slotKey(slot.slot.id) };
  return signerOf(slot.text, scope, keyring.keySet.signers.slice(0, -1)) !== undefined;
}

/**
 * Finds the slot that `secret` opens and opens the newest key set with it. Slots of other kinds cost nothing; one that is
 * damaged does not keep the others from being tried.
 * Raises `usage` for a recovery key that cannot be one, `wrong-key`, `integrity`, `format`, `newer-version`.
 */
export async function openKeyring(
  store: ObjectStore,
  secret: Secret,
  about: {
    repositoryId: string;
    level: number;
    logger: Logger;
    stored?: StoredKeys;
    /** Called when the key of a slot begins to be made of the secret, on another thread. */
    onDerive?: (() => void) | undefined;
  },
): Promise<Keyring> {
  const { repositoryId, level, logger, stored: keys = await readStoredKeys(store) } = about;
  const { slots, damaged, number, keySetText } = keys;
  let stale: string | undefined;
  for (const stored of slots.filter(({ slot }) => slot.kind === secret.kind)) {
    const unwrapping = unwrapSlot(stored.slot, secret, repositoryId);
    about.onDerive?.();
    const content = await unwrapping;
    if (!content) continue;
    const keySet = openKeySet(keySetText, content, { number, repositoryId });
    if (!keySet) {
      stale = stored.slot.id;
      continue;
    }
    const keyring = new Keyring(store, { repositoryId, slotId: stored.slot.id, content, keySet, level });
    if (!isGenuine(stored, keyring)) logger.warn(changedSlot(stored.slot.id));
    return keyring;
  }
  if (stale !== undefined) {
    throw new IntegrityError(
      `key slot ${stale} opens, but ${keySetKey(number)} does not open with it: the key set is damaged, or the root key was replaced without this slot`,
    );
  }
  const [first] = damaged;
  if (first && slots.length === 0) throw first.error;
  throw wrongKey(store, secret, slots, damaged.length);
}

/** What is to be said of a slot that no writer of the repository made as it is. */
export function changedSlot(id: string): string {
  return `key slot ${id} was changed, or made, by somebody who may not: it is not signed by a writer of this repository (or a rotation of the root key was interrupted; then remove it: prima key remove ${id})`;
}

const secretNames = { passphrase: 'passphrase', keyfile: 'key file', recovery: 'recovery key' } as const;

function wrongKey(
  store: ObjectStore,
  secret: Secret,
  slots: StoredSlots['slots'],
  damaged: number,
): PrimaError {
  const own = slots.filter(({ slot }) => slot.kind === secret.kind).length;
  const others = [...new Set(slots.map(({ slot }) => slot.kind))]
    .filter((kind) => kind !== secret.kind)
    .map((kind) => secretNames[kind]);
  return new PrimaError(
    'wrong-key',
    `this ${secretNames[secret.kind]} opens none of the ${slots.length} key slots of ${store.url}` +
      (own === 0 && others.length > 0 ? `; there are only slots for a ${others.join(' and a ')}` : '') +
      (damaged > 0 ? `; ${damaged} more cannot be read` : ''),
  );
}
