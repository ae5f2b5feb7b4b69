/** Taking something back step by step: one that fails does not stop the others, and the failures are raised at the end. */
import { PrimaError, toPrimaError } from '@prima/base';

export class UndoSteps {
  /** In words. */
  readonly done: string[] = [];
  readonly #failures: PrimaError[] = [];

  /** @param task answers whether there was anything to do */
  async step(what: string, task: () => Promise<boolean>): Promise<void> {
    try {
      if (await task()) this.done.push(what);
    } catch (error) {
      this.#failures.push(toPrimaError(error, what));
    }
  }

  /** Raises what failed, if anything did: retryable, with the code of the first. @param doing "undoing a backup of web01" */
  end(doing: string): void {
    const [first] = this.#failures;
    if (!first) return;
    const messages = this.#failures.map(({ message }) => message).join('; ');
    throw new PrimaError(first.code, `${doing}: ${messages}`, {
      cause: first,
      retryable: true,
      details: { done: this.done },
    });
  }
}
