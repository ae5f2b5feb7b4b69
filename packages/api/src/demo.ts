/** What the contract says of the demonstration. */
import type { CallOptions } from './call.ts';

export interface DemoStep {
  step: string;
  ok: boolean;
  elapsedMs: number;
  read?: number;
  stored?: number;
  detail: string;
}

export interface DemoResult {
  ok: boolean;
  steps: DemoStep[];
}

export interface DemoApi {
  /** Runs the demonstration; events tell the story, the result is its table. */
  demo(request: { folder?: string; keep?: boolean }, options?: CallOptions): Promise<DemoResult>;
}
