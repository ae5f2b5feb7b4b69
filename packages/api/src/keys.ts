/** What the contract says of keys: slots, secrets, rotation. What is a secret has `secret: true` and is never logged. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { count, isoTime, name, place } from './values.ts';

const keySlotKind = z.enum(['passphrase', 'keyfile', 'recovery']);

export const KeySlotDto = z.object({
  id: z.string(),
  kind: keySlotKind,
  /** `read`: opens the repository for reading only. */
  access: z.enum(['full', 'read']),
  label: z.string(),
  created: isoTime,
});
export type KeySlotDto = z.infer<typeof KeySlotDto>;

/** Where a new secret comes from; secrets never travel in argument lists. */
export const SecretSource = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('passphrase'),
    text: z.string().min(1).max(65_536).meta({ secret: true }),
  }),
  z.strictObject({ kind: z.literal('keyfile'), path: place }),
  /** The file's content, at most 64 KiB: of a file that is where the caller is. */
  z.strictObject({
    kind: z.literal('keyfile-content'),
    base64: z.base64().min(4).max(87_384).meta({ secret: true }),
  }),
  z.strictObject({
    kind: z.literal('recovery'),
    words: z.string().min(1).max(4096).meta({ secret: true }),
  }),
]);
export type SecretSource = z.infer<typeof SecretSource>;

export const KeyAddRequest = z.strictObject({
  /** `new-recovery`: a recovery key is made, and its words are in the answer. */
  secret: z.discriminatedUnion('kind', [
    ...SecretSource.options,
    z.strictObject({ kind: z.literal('new-recovery') }),
  ]),
  label: z.string().max(255),
  /** The slot opens the repository for reading only. */
  readOnly: z.boolean().optional(),
});
export type KeyAddRequest = z.infer<typeof KeyAddRequest>;

/** The words of a recovery key: shown once, kept nowhere. */
export const recoveryWords = z.array(z.string()).meta({ secret: true });

/** With the words of a new recovery key: shown once, kept nowhere. */
export const NewKeySlotDto = KeySlotDto.extend({ words: recoveryWords.optional() });
export type NewKeySlotDto = z.infer<typeof NewKeySlotDto>;

export const KeyRemoveRequest = z.strictObject({ id: name, force: z.boolean().optional() });
export type KeyRemoveRequest = z.infer<typeof KeyRemoveRequest>;

export const KeyRotationDto = z.object({
  /** Number of the new key set. */
  keySet: count,
  /** The data key that backups write with from now on. */
  epoch: count,
});
export type KeyRotationDto = z.infer<typeof KeyRotationDto>;

export const KeyRotateRootRequest = z.strictObject({
  others: z.array(SecretSource).max(64).optional(),
  dropOthers: z.boolean().optional(),
});
export type KeyRotateRootRequest = z.infer<typeof KeyRotateRootRequest>;

export const RootKeyRotationDto = KeyRotationDto.extend({
  /** The new slots; `before` is the id of the one that had this secret. */
  slots: z.array(KeySlotDto.extend({ before: z.string() })),
  /** What opens the repository no longer. */
  dropped: z.array(z.object({ id: z.string(), kind: keySlotKind.optional(), label: z.string().optional() })),
  /** Old slots that the storage keeps from being deleted. */
  left: z.array(z.string()),
});
export type RootKeyRotationDto = z.infer<typeof RootKeyRotationDto>;

export interface KeysApi {
  keyList(options?: CallOptions): Promise<KeySlotDto[]>;
  keyAdd(request: KeyAddRequest, options?: CallOptions): Promise<NewKeySlotDto>;
  keyRemove(request: KeyRemoveRequest, options?: CallOptions): Promise<void>;
  keyRotate(options?: CallOptions): Promise<KeyRotationDto>;
  /** A new root key. Slots go on whose secrets are given: what opened the repository, and `others`. */
  keyRotateRoot(request: KeyRotateRootRequest, options?: CallOptions): Promise<RootKeyRotationDto>;
}
