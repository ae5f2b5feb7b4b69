/** What long work reports while it goes on. */

/** The part of a pipeline that the others wait for. */
export type Bottleneck = 'source' | 'processing' | 'store';

export interface Progress {
  /** What is going on, a short phrase: "reading disk0". */
  phase: string;
  /** Bytes done and to do; `total` is undefined while it is not known. */
  done: number;
  total?: number;
  /** Bytes that had to be read from the source, and bytes newly stored, so far. */
  read?: number;
  stored?: number;
  bottleneck?: Bottleneck;
}

export type ProgressListener = (progress: Progress) => void;
