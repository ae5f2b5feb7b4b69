/** What every operation takes and tells besides its own request: events, cancellation, errors. */

/** What long work tells while it goes on. `bytes` and rates are for progress bars. */
export type JobEvent =
  | {
      type: 'log';
      level: 'debug' | 'info' | 'warn' | 'error';
      message: string;
      fields?: Record<string, unknown>;
    }
  | {
      type: 'progress';
      /** "web01 disk0", or a phase of the work. */
      subject: string;
      done: number;
      total?: number;
      read?: number;
      stored?: number;
      bottleneck?: 'source' | 'processing' | 'store';
    };

export interface CallOptions {
  signal?: AbortSignal;
  onEvent?: (event: JobEvent) => void;
}

export interface ErrorDto {
  code: string;
  message: string;
  exitStatus: number;
  details?: Record<string, unknown>;
}
