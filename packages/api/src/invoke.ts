/** Calls an operation by its name, as whoever answers requests does. */
import { PrimaError, throwIfAborted } from '@prima/base';
import type { CallOptions } from './call.ts';
import type { PrimaApi } from './contract.ts';
import type { OperationName } from './operation.ts';
import { operations } from './operation-table.ts';
import type { ExportRequest } from './restore.ts';
import { Nothing } from './values.ts';

type AnyOperation = (...parameters: unknown[]) => Promise<unknown>;

/**
 * The result as it is sent: `null` where there is none. An export says where it serves in an event and works until the
 * signal aborts; it raises `cancelled` then.
 * @param request as `parseRequest` answered it
 */
export async function invoke(
  api: PrimaApi,
  name: OperationName,
  request: unknown,
  options: CallOptions & { signal: AbortSignal },
): Promise<unknown> {
  if (name === 'export') return await serve(api, request as ExportRequest, options);
  const call = api[name] as AnyOperation;
  const result = operations[name].request === Nothing ? await call(options) : await call(request, options);
  return result ?? null;
}

async function serve(
  api: PrimaApi,
  request: ExportRequest,
  options: CallOptions & { signal: AbortSignal },
): Promise<never> {
  const { signal, onEvent } = options;
  const handle = await api.export(request, options);
  try {
    const { uris } = handle;
    onEvent?.({ type: 'log', level: 'info', message: 'serving', fields: { uris } });
    await aborted(signal);
  } finally {
    await handle.stop();
  }
  throwIfAborted(signal, 'serving an export');
  throw new PrimaError('cancelled', 'the export has ended');
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
