/** What the contract says of the demonstration. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, elapsed, place } from './values.ts';

export const DemoStep = z.object({
  step: z.string(),
  ok: z.boolean(),
  elapsedMs: elapsed,
  read: bytes.optional(),
  stored: bytes.optional(),
  detail: z.string(),
});
export type DemoStep = z.infer<typeof DemoStep>;

export const DemoRequest = z.strictObject({ folder: place.optional(), keep: z.boolean().optional() });
export type DemoRequest = z.infer<typeof DemoRequest>;

export const DemoResult = z.object({ ok: z.boolean(), steps: z.array(DemoStep) });
export type DemoResult = z.infer<typeof DemoResult>;

export interface DemoApi {
  /** Runs the demonstration; events tell the story, the result is its table. */
  demo(request: DemoRequest, options?: CallOptions): Promise<DemoResult>;
}
