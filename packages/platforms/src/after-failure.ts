/** Taking something back after a failure, which may fail itself: a person must hear of both. */
import { PrimaError, toPrimaError } from '@prima/base';

/** Runs `takeBack` and answers what to raise: `failure`, or both where that failed as well. @param doing "taking a backup back" */
export async function afterFailure(
  failure: PrimaError,
  doing: string,
  takeBack: () => Promise<void>,
): Promise<PrimaError> {
  try {
    await takeBack();
    return failure;
  } catch (error) {
    const second = toPrimaError(error, doing);
    return new PrimaError(failure.code, `${failure.message}; and then ${second.message}`, { cause: failure });
  }
}
