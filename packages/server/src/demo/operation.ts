/** The demonstration as an operation. */
import type { PrimaApi } from '@prima/api';
import { PrimaError } from '@prima/base';
import type { Context } from '../context.ts';

export function demoOperations(context: Context): Pick<PrimaApi, 'demo'> {
  return {
    demo: (_request, options) =>
      context.run(options, async () => {
        throw new PrimaError('internal', 'not yet');
      }),
  };
}
