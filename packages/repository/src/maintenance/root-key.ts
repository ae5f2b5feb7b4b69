/**
 * A new root key: everything behind the slots is new from here on. See "Keys" of the format. Each write leaves a repository that
 * opens with the same secrets as before.
 */
import { randomBytes } from 'node:crypto';
import { IntegrityError, PrimaError, UserError } from '@prima/base';
import type { Context } from '../context.ts';
import type { KeySlotInfo, RootKeyRotation, Secret } from '../contract.ts';
import { keySetKey, type KeySet, nextRoot, readingKeyOf, writeKeySet } from '../crypto/key-set.ts';
import {
  type KeySlot,
  type SlotContent,
  slotKey,
  unwrapSlot,
  wrapSlot,
  writeKeySlot,
} from '../crypto/key-slot.ts';
import { isGenuine, maxSlots, readSlots, type StoredSlots } from '../crypto/keyring.ts';
import { RecordSigner } from '../crypto/signature.ts';
import { deleteUnlessKept, listSessions, whyDead } from '../session/sessions.ts';
import { assertRoomForKeySet, infoOf } from './key-slots.ts';

const doing = 'replacing the root key';

/** A slot that goes on, with what opens it. */
interface Kept {
  slot: KeySlot;
  secret: Secret;
}

/**
 * Replaces the root key, the data key and the signing key. Slots go on that one of `secrets` opens, the first of which opened the
 * repository. Raises `refused` when others would be lost and `dropOthers` is not set, `wrong-key` for a secret that opens
 * nothing, `busy` while somebody writes.
 */
export async function rotateRootKey(
  context: Context,
  secrets: readonly Secret[],
  { dropOthers = false }: { dropOthers?: boolean } = {},
): Promise<RootKeyRotation> {
  const { keyring, store, clock } = context;
  keyring.signer(doing);
  await keyring.refresh();
  await context.log.assertSound(doing);
  await context.log.appendSigner(); // of a rotation before this one, whose process has died
  await assertAlone(context);
  const before = await readSlots(store);
  const kept = await keptSlots(context, before, secrets);
  const dropped = droppedSlots(context, before, kept);
  assertMeant(dropped, dropOthers);
  assertRoom(before, kept);
  const rootKey = randomBytes(32);
  const keySet = nextRoot(keyring.keySet, new Date(clock.now()).toISOString());
  assertRoomForKeySet(keySet.number);
  const fresh = await writeSlots(context, { kept, rootKey, keySet });
  await writeNext(context, keySet, { rootKey, fresh });
  const [first] = fresh;
  if (!first) throw new IntegrityError('no slot was made for the new root key');
  keyring.adoptRoot({ slotId: first.slot.id, content: first.content, keySet });
  await context.log.appendSigner();
  await context.log.inspect(); // remembers the new number
  const left: string[] = [];
  for (const key of keysOf(before)) if (!(await deleteUnlessKept(context, key))) left.push(key.slice(5));
  return {
    keySet: keySet.number,
    epoch: keySet.epoch,
    slots: fresh.map(({ slot }, index) => ({ ...infoOf(slot), before: kept[index]?.slot.id ?? '' })),
    dropped: dropped.map(({ id, info }) => ({ id, ...(info && { kind: info.kind, label: info.label }) })),
    left,
  };
}

/** Who writes has the old keys, and would fail in the end. */
async function assertAlone(context: Context): Promise<void> {
  for (const entry of await listSessions(context)) {
    if (entry.hasOutcome || entry.isForgotten) continue;
    const { kind, why } = await whyDead(context, entry);
    if (kind === 'read' || why !== undefined) continue;
    throw new PrimaError(
      'busy',
      `${doing}: a ${kind} is running; nothing was done, try again when it has ended`,
      {
        retryable: true,
      },
    );
  }
}

/** Slots that one of the secrets opens, that of the first one first. */
async function keptSlots(
  context: Context,
  { slots }: StoredSlots,
  secrets: readonly Secret[],
): Promise<Kept[]> {
  const { keyring, id } = context;
  const kept: Kept[] = [];
  for (const [index, secret] of secrets.entries()) {
    let isOf = 0;
    for (const stored of slots.filter((one) => isGenuine(one, keyring))) {
      const { slot } = stored;
      if (!(await unwrapSlot(slot, secret, id))) continue;
      isOf += 1;
      if (!kept.some((one) => one.slot.id === slot.id)) kept.push({ slot, secret });
    }
    if (isOf > 0) continue;
    throw new UserError(
      'wrong-key',
      `${doing}: ${index === 0 ? 'what opened the repository' : `the ${nth(index)} of the other secrets`} (${secret.kind}) opens no key slot; nothing was done`,
    );
  }
  const own = kept.findIndex(({ slot }) => slot.access === 'full');
  if (own < 0)
    throw new UserError('refused', `${doing}: no secret is given that opens the repository in full`);
  return [...kept.splice(own, 1), ...kept];
}

const nth = (index: number) => ['first', 'second', 'third'][index - 1] ?? `${index}th`;

interface Dropped {
  id: string;
  info: KeySlotInfo | undefined;
}

/** Those that are lost: not what earlier rotations have left, which open nothing. */
function droppedSlots(context: Context, { slots, damaged }: StoredSlots, kept: readonly Kept[]): Dropped[] {
  const isKept = (id: string) => kept.some(({ slot }) => slot.id === id);
  return [
    ...slots
      .filter((stored) => isGenuine(stored, context.keyring) && !isKept(stored.slot.id))
      .map(({ slot }) => ({ id: slot.id, info: infoOf(slot) })),
    ...damaged.map(({ key }) => ({ id: key.slice(5), info: undefined })),
  ];
}

function assertMeant(dropped: readonly Dropped[], dropOthers: boolean): void {
  if (dropped.length === 0 || dropOthers) return;
  const names = dropped.map(({ id, info }) => `${id} (${info ? `${info.kind}, ${info.label}` : 'damaged'})`);
  throw new UserError(
    'refused',
    `${doing}: these key slots would be lost, because their secrets are not given: ${names.join(', ')}; nothing was done. ` +
      'Give their secrets with --also-passphrase-file, --also-key-file or --also-recovery-file, or let them go with --drop-others',
    { details: { dropped: dropped.map(({ id }) => id) } },
  );
}

function assertRoom({ slots, damaged }: StoredSlots, kept: readonly Kept[]): void {
  if (slots.length + damaged.length + kept.length <= maxSlots) return;
  throw new UserError(
    'refused',
    `${doing}: old and new slots are there side by side for a moment, and a repository has at most ${maxSlots}; remove some first`,
  );
}

interface Fresh {
  slot: KeySlot;
  content: SlotContent;
}

async function writeSlots(
  context: Context,
  { kept, rootKey, keySet }: { kept: readonly Kept[]; rootKey: Buffer; keySet: KeySet & { seed: Buffer } },
): Promise<Fresh[]> {
  const { id: repositoryId, store } = context;
  const signer = new RecordSigner(keySet.seed);
  const full: SlotContent = { key: rootKey, access: 'full', signer: signer.publicKey };
  const reading: SlotContent = { ...full, key: readingKeyOf(full), access: 'read' };
  const fresh: Fresh[] = [];
  for (const { slot: old, secret } of kept) {
    const content = old.access === 'full' ? full : reading;
    const about = { repositoryId, label: old.label, created: keySet.created };
    fresh.push({ slot: await wrapSlot(content, secret, about), content });
  }
  for (const { slot } of fresh)
    await store.putIfAbsent(slotKey(slot.id), Buffer.from(writeKeySlot(slot, signer, repositoryId)));
  return fresh;
}

/** From here on the new root key counts. */
async function writeNext(
  { store, id }: Context,
  keySet: KeySet & { seed: Buffer },
  { rootKey, fresh }: { rootKey: Buffer; fresh: readonly Fresh[] },
): Promise<void> {
  const text = writeKeySet(keySet, rootKey, id);
  if ((await store.putIfAbsent(keySetKey(keySet.number), Buffer.from(text))) === 'created') return;
  for (const { slot } of fresh) await store.delete(slotKey(slot.id));
  throw new PrimaError(
    'busy',
    'somebody else changed the keys at the same time; look whether that is what you wanted, else do it again',
    { retryable: true },
  );
}

function keysOf({ slots, damaged }: StoredSlots): string[] {
  return [...slots.map(({ slot }) => slotKey(slot.id)), ...damaged.map(({ key }) => key)];
}
