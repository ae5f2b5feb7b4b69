/** The demonstration's steps, timed and told as they happen. */
import type { DemoStep } from '@prima/api';
import { formatDuration, type Logger, toPrimaError } from '@prima/base';

/** What a step found; it is well unless it says otherwise. */
export interface StepOutcome {
  ok?: boolean;
  read?: number;
  stored?: number;
  detail: string;
}

export class Story {
  readonly steps: DemoStep[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get ok(): boolean {
    return this.steps.every((step) => step.ok);
  }

  /** Says something between the steps. */
  say(text: string): void {
    this.#logger.info(text);
  }

  /** Runs a step; one that raises is in the table as failed, and raised. */
  async step<T extends StepOutcome>(step: string, task: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const elapsedMs = () => performance.now() - started;
    try {
      const outcome = await task();
      const { ok = true, read, stored, detail } = outcome;
      this.steps.push({ step, ok, elapsedMs: elapsedMs(), read, stored, detail });
      this.#logger[ok ? 'info' : 'error'](`${step}: ${detail} (${formatDuration(elapsedMs())})`);
      return outcome;
    } catch (error) {
      const detail = toPrimaError(error, step).message;
      this.steps.push({ step, ok: false, elapsedMs: elapsedMs(), detail });
      this.#logger.error(`${step}: ${detail}`);
      throw error;
    }
  }
}
