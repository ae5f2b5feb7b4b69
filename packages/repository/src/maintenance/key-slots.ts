/** What opens a repository, and changing it: key slots and rotation. See "Keys" of the format. */
import { IntegrityError, PrimaError, UserError } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import type { Context } from '../context.ts';
import type { CheckFault, KeyRotation, KeySlotInfo, Secret } from '../contract.ts';
import {
  keySetKey,
  type KeySet,
  maxKeySets,
  newKeySet,
  nextEpoch,
  readingKeyOf,
  writeKeySet,
} from '../crypto/key-set.ts';
import { type KdfCost, type SlotContent, slotKey, wrapSlot, writeKeySlot } from '../crypto/key-slot.ts';
import { changedSlot, isGenuine, isStale, Keyring, maxSlots, readSlots } from '../crypto/keyring.ts';
import { RecordSigner } from '../crypto/signature.ts';
import { randomBytes } from 'node:crypto';

/** Makes the first slot and key set of a new repository. Raises `exists`, `usage`. */
export async function createKeys(
  store: ObjectStore,
  secret: Secret,
  about: { repositoryId: string; label: string; created: string; level: number; cost?: KdfCost },
): Promise<Keyring> {
  const { repositoryId, created, level } = about;
  const rootKey = randomBytes(32);
  const keySet = newKeySet(created);
  const signer = new RecordSigner(keySet.seed);
  const content: SlotContent = { key: rootKey, access: 'full', signer: signer.publicKey };
  const slot = await wrapSlot(content, secret, about);
  const { number } = keySet;
  const text = writeKeySet(keySet, rootKey, repositoryId);
  if ((await store.putIfAbsent(keySetKey(number), Buffer.from(text))) === 'exists')
    throw new PrimaError('exists', `${store.url} holds a repository already, or somebody is making one`);
  await store.putIfAbsent(slotKey(slot.id), Buffer.from(writeKeySlot(slot, signer, repositoryId)));
  return new Keyring(store, { repositoryId, slotId: slot.id, content, keySet, level });
}

export async function listKeySlots({ store }: Context): Promise<KeySlotInfo[]> {
  return (await readSlots(store)).slots.map(({ slot }) => infoOf(slot));
}

export async function addKeySlot(
  context: Context,
  secret: Secret,
  { label, readOnly = false }: { label: string; readOnly?: boolean },
): Promise<KeySlotInfo> {
  const doing = 'adding a key slot';
  const { keyring, store, id: repositoryId } = context;
  const signer = keyring.signer(doing);
  await context.log.assertSound(doing);
  const { slots, damaged } = await readSlots(store);
  if (slots.length + damaged.length >= maxSlots) {
    throw new UserError('refused', `the repository has ${maxSlots} key slots, no more fit; remove one first`);
  }
  const created = new Date(context.clock.now()).toISOString();
  const content: SlotContent = readOnly
    ? { ...keyring.content, key: readingKeyOf(keyring.content), access: 'read' }
    : keyring.content;
  const slot = await wrapSlot(content, secret, { repositoryId, label, created });
  await store.putIfAbsent(slotKey(slot.id), Buffer.from(writeKeySlot(slot, signer, repositoryId)));
  return infoOf(slot);
}

/**
 * Refuses to remove the last slot that opens the repository in full and, unless `force`, the one that it was opened with.
 * Raises `not-found`, `ambiguous`, `refused`.
 */
export async function removeKeySlot(
  context: Context,
  id: string,
  { force = false }: { force?: boolean } = {},
): Promise<void> {
  const { keyring, store, logger } = context;
  keyring.signer('removing a key slot');
  const { slots, damaged } = await readSlots(store);
  const ids = [...slots.map(({ slot }) => slot.id), ...damaged.map(({ key }) => key.slice('keys/'.length))];
  const matches = id === '' ? [] : ids.filter((known) => known.startsWith(id));
  const [only] = matches;
  if (only === undefined)
    throw new UserError('not-found', `the repository has no key slot "${id}"; see: prima key list`);
  if (matches.length > 1)
    throw new UserError('ambiguous', `"${id}" begins the ids of ${matches.length} key slots`);
  const left = slots
    .filter((stored) => isGenuine(stored, keyring))
    .map(({ slot }) => slot)
    .filter((slot) => slot.id !== only && slot.access === 'full');
  if (left.length === 0) {
    throw new UserError(
      'refused',
      'the last key slot is not removed: nobody could write to the repository again',
    );
  }
  if (only === keyring.slotId && !force) {
    throw new UserError(
      'refused',
      'this slot is the one you opened the repository with; use --force to remove it all the same',
    );
  }
  await store.delete(slotKey(only));
  if (left.every(({ kind }) => kind === 'recovery'))
    logger.warn('only recovery keys open the repository now: when the paper is lost, so is everything');
}

/** Makes the next key set, with a new data key for what is written from now on. */
export async function rotateKeys(context: Context): Promise<KeyRotation> {
  const doing = 'rotating the data key';
  const { keyring } = context;
  keyring.signer(doing);
  await keyring.refresh();
  await context.log.assertSound(doing);
  const keySet = nextEpoch(keyring.keySet, new Date(context.clock.now()).toISOString());
  await putKeySet(context, keySet, keyring.content.key);
  keyring.adopt(keySet);
  await context.log.inspect(); // remembers the new number
  return { keySet: keySet.number, epoch: keySet.epoch };
}

/** Faults of the slots, for checks: what no writer of the repository has made. */
export async function checkKeySlots(context: Context): Promise<CheckFault[]> {
  const { slots, damaged } = await readSlots(context.store);
  return [
    ...damaged.map(({ key, error }) => fault('damaged-key-slot', key, error.message)),
    ...slots
      .filter((stored) => !isGenuine(stored, context.keyring))
      .map((stored) => {
        const { id } = stored.slot;
        if (!isStale(stored, context.keyring)) return fault('forged-key-slot', slotKey(id), changedSlot(id));
        return fault(
          'stale-key-slot',
          slotKey(id),
          `the root key was replaced since this key slot was made: it opens nothing, remove it: prima key remove ${id}`,
        );
      }),
  ];
}

async function putKeySet(context: Context, keySet: KeySet, rootKey: Buffer): Promise<void> {
  const { seed, number } = keySet;
  if (!seed) throw new IntegrityError('the key set has no signing key');
  assertRoomForKeySet(number);
  const text = writeKeySet({ ...keySet, seed }, rootKey, context.id);
  if ((await context.store.putIfAbsent(keySetKey(number), Buffer.from(text))) === 'created') return;
  throw new PrimaError(
    'busy',
    'somebody else changed the keys at the same time; look whether that is what you wanted, else do it again',
    { retryable: true },
  );
}

/** Raises `refused` when a repository has no key set of this number. */
export function assertRoomForKeySet(number: number): void {
  if (number <= maxKeySets) return;
  throw new UserError('refused', `a repository has at most ${maxKeySets} key sets; make a new one and copy`);
}

function fault(kind: string, object: string, message: string): CheckFault {
  return { kind, object, message, affected: [] };
}

export function infoOf({ id, kind, access, label, created }: KeySlotInfo): KeySlotInfo {
  return { id, kind, access, label, created };
}
