/** What the main thread and the chunk workers say to each other. */
import type { ErrorCode } from '@prima/base';
import type { SealingKeys } from '../crypto/sealer.ts';
import type { BlobType } from '../format/blob.ts';

export interface WorkerSetup {
  keys: SealingKeys;
  /** Pieces of shared memory that hold some chunks each; main reads into them, workers work on them. */
  slots: SharedArrayBuffer[];
  /** Shared memory in which this worker builds packs; empty for workers that only open. */
  packBuffers: SharedArrayBuffer[];
  packBytes: number;
  readBack: boolean;
}

/** The first message to a thread. */
export interface Begin {
  setup: WorkerSetup;
}

/** What is asked for in one go comes in one message, an array of these; so do the answers to it. */
export type Request =
  /** Is this chunk zero, and if not, what is its id? */
  | { op: 'hash'; job: number; slot: number; offset: number; length: number }
  /** Put this chunk into the open pack. */
  | { op: 'seal'; job: number; slot: number; offset: number; length: number; id: Uint8Array }
  /** Finish the open pack, if it holds anything. */
  | { op: 'flush'; job: number }
  /** The pack in this buffer is stored; the buffer may be used again. */
  | { op: 'release'; buffer: number }
  /** There are newer epochs: all of them, for opening. */
  | { op: 'epochs'; epochs: SealingKeys['epochs'] }
  /** Open a blob into shared memory and check it. */
  | {
      op: 'open';
      job: number;
      blob: Uint8Array;
      id: Uint8Array;
      type: BlobType;
      into: Uint8Array;
      where: string;
    }
  /** Is this a whole pack of this name, and does every blob in it open? */
  | { op: 'verify'; job: number; pack: Uint8Array; name: string; where: string };

export type Answer =
  | { op: 'done'; job: number; id?: Uint8Array; length?: number; fault?: string | undefined }
  | { op: 'failed'; job: number; code: ErrorCode; message: string }
  | { op: 'pack'; buffer: number; name: string; size: number; ids: Uint8Array; places: Uint32Array };
