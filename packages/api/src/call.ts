/** What every operation takes and tells besides its own request: events, cancellation, errors. */
import { z } from 'zod';
import { count } from './values.ts';

const LogEvent = z.object({
  type: z.literal('log'),
  level: z.enum(['debug', 'info', 'warn', 'error']),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()).optional(),
});

const ProgressEvent = z.object({
  type: z.literal('progress'),
  /** "web01 disk0", or a phase of the work. */
  subject: z.string().meta({ description: '"web01 disk0", or a phase of the work' }),
  done: z.number().nonnegative(),
  total: z.number().nonnegative().optional(),
  read: z.number().nonnegative().optional().meta({ description: 'bytes' }),
  stored: z.number().nonnegative().optional().meta({ description: 'bytes' }),
  bottleneck: z.enum(['source', 'processing', 'store']).optional(),
});

/** What long work tells while it goes on. `bytes` and rates are for progress bars. */
export const JobEvent = z.discriminatedUnion('type', [LogEvent, ProgressEvent]);
export type JobEvent = z.infer<typeof JobEvent>;

export interface CallOptions {
  signal?: AbortSignal;
  onEvent?: (event: JobEvent) => void;
}

export const ErrorDto = z.object({
  code: z.string().meta({ description: 'one of docs/errors.md' }),
  message: z.string(),
  exitStatus: count,
  details: z.record(z.string(), z.unknown()).optional(),
});
export type ErrorDto = z.infer<typeof ErrorDto>;
