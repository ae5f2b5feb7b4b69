/** What the contract says of keys: slots, secrets, rotation. */
import type { CallOptions } from './call.ts';

export interface KeySlotDto {
  id: string;
  kind: 'passphrase' | 'keyfile' | 'recovery';
  /** `read`: opens the repository for reading only. */
  access: 'full' | 'read';
  label: string;
  created: string;
}

/** Where a new secret comes from; secrets never travel in argument lists. */
export type SecretSource =
  | { kind: 'passphrase'; text: string }
  | { kind: 'keyfile'; path: string }
  | { kind: 'recovery'; words: string };

export interface KeyAddRequest {
  /** `new-recovery`: a recovery key is made, and its words are in the answer. */
  secret: SecretSource | { kind: 'new-recovery' };
  label: string;
  /** The slot opens the repository for reading only. */
  readOnly?: boolean;
}

/** With the words of a new recovery key: shown once, kept nowhere. */
export interface NewKeySlotDto extends KeySlotDto {
  words?: string[];
}

export interface KeyRotationDto {
  /** Number of the new key set. */
  keySet: number;
  /** The data key that backups write with from now on. */
  epoch: number;
}

export interface RootKeyRotationDto extends KeyRotationDto {
  /** The new slots; `before` is the id of the one that had this secret. */
  slots: (KeySlotDto & { before: string })[];
  /** What opens the repository no longer. */
  dropped: { id: string; kind?: KeySlotDto['kind']; label?: string }[];
  /** Old slots that the storage keeps from being deleted. */
  left: string[];
}

export interface KeysApi {
  keyList(options?: CallOptions): Promise<KeySlotDto[]>;
  keyAdd(request: KeyAddRequest, options?: CallOptions): Promise<NewKeySlotDto>;
  keyRemove(request: { id: string; force?: boolean }, options?: CallOptions): Promise<void>;
  keyRotate(options?: CallOptions): Promise<KeyRotationDto>;
  /** A new root key. Slots go on whose secrets are given: what opened the repository, and `others`. */
  keyRotateRoot(
    request: { others?: SecretSource[]; dropOthers?: boolean },
    options?: CallOptions,
  ): Promise<RootKeyRotationDto>;
}
