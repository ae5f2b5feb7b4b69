/** What the contract says of keys: slots, secrets, rotation. */

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
