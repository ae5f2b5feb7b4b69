/**
 * Where a repository's objects live. Objects are immutable: they are created once, read, listed and
 * deleted, never changed. Every promise that the repository's safety rests on is written here, and
 * the conformance suite holds each store to it.
 */

/** One piece or several that are stored one after the other (they may lie in shared memory). */
export type ObjectBody = Uint8Array | readonly Uint8Array[];

export interface ObjectRange {
  /** Byte offset from the start of the object. */
  offset: number;
  length: number;
}

export interface ObjectInfo {
  key: string;
  /** Bytes. */
  size: number;
  /** Milliseconds since 1970 by the store's clock; only a hint, never a base for safety. */
  modified: number;
}

export interface StoreCallOptions {
  signal?: AbortSignal;
  /** For reads: from the store itself, not from a cache before it. Default false. */
  fresh?: boolean;
  /** See `ObjectStore.paces`: awaited with the length of each piece of a body, in bytes, as it goes over the wire. */
  pace?: (bytes: number) => Promise<void>;
}

export interface ListOptions extends StoreCallOptions {
  /** Only the keys are wanted: `size` and `modified` may be 0, which is cheaper on file systems. Default false. */
  namesOnly?: boolean;
}

/** Stores that can keep objects from being deleted by anyone, their administrators' tools included. */
export interface Retention {
  /**
   * Keeps `key` until `until` (milliseconds since 1970, by the store's clock). Only ever extends: an earlier
   * time changes nothing. Raises `not-found`, `permission`.
   */
  retain(key: string, until: number, options?: StoreCallOptions): Promise<void>;
  /** Until when the object is kept, milliseconds since 1970; undefined when it is not. Raises `not-found`. */
  retainedUntil(key: string, options?: StoreCallOptions): Promise<number | undefined>;
}

export interface ObjectStore {
  /** Where this is, for messages; holds no secret. */
  readonly url: string;
  /** Bytes at which packs should be closed here. Undefined: what fits file systems. */
  readonly packBytes?: number;
  /** How long it may take until what one client created or deleted is listed to all, milliseconds. Default 0. */
  readonly settleMs?: number;
  /**
   * True when `putIfAbsent` and `get` send and take bodies in pieces of 1 MiB at most and await `pace` before they send
   * and after they took each. Wrappers pace (and watch for standstill) with it; other stores get whole bodies.
   */
  readonly paces?: boolean;
  /** There where the store itself keeps objects; deleting such an object raises `refused`. */
  readonly retention?: Retention;
  /**
   * Creates `key` with `body`, atomically (nobody sees a part of it) and durably (a crash right
   * after does not undo it). Answers `exists`, and changes nothing, when the key is there already;
   * of several callers at once exactly one gets `created`. Who tries again after a lost answer and finds
   * its own bytes there answers `created`.
   */
  putIfAbsent(key: string, body: ObjectBody, options?: StoreCallOptions): Promise<'created' | 'exists'>;
  /**
   * The object's bytes, or those of `range`; exactly the range's length or an error.
   * Raises `not-found` for a missing key, `integrity` when the object is shorter than the range.
   */
  get(key: string, range?: ObjectRange, options?: StoreCallOptions): Promise<Uint8Array>;
  /**
   * Reads `into.length` bytes from the byte `offset` on into memory of the caller's, where that saves a copy. Nothing is
   * written to `into` once it has settled. Raises what `get` raises.
   */
  readInto?(key: string, offset: number, into: Uint8Array, options?: StoreCallOptions): Promise<void>;
  /** Size and time of one object, or undefined when it is not there. */
  stat(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined>;
  /** All objects whose key begins with `prefix`, in ascending order of their keys (UTF-16 code units). */
  list(prefix: string, options?: ListOptions): AsyncIterable<ObjectInfo>;
  /** Removes `key`, durably; nothing happens when it is not there. */
  delete(key: string, options?: StoreCallOptions): Promise<void>;
  close(): Promise<void>;
}

/**
 * Keys are one to eight segments of `[A-Za-z0-9._-]`, joined by `/`; a segment begins with a letter
 * or a digit; 200 characters at most. This fits every file system and object store.
 */
export const keyPattern = /^(?=.{1,200}$)[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}$/;
