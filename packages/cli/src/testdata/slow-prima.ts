/** A real `prima` process whose application answers `backup` only after it was cancelled. */
import type { PrimaApi } from '@prima/api';
import { runInProcess } from '../process.ts';

const api: Partial<PrimaApi> = {
  backup: (_, options) =>
    new Promise((_resolve, reject) => {
      const keepAlive = setInterval(() => undefined, 1000);
      options?.signal?.addEventListener('abort', () => {
        clearInterval(keepAlive);
        reject(options.signal?.reason);
      });
      const { PRIMA_PASSPHRASE: passphrase, PRIMA_TOKEN: token, GLIBC_TUNABLES: tunables } = process.env;
      options?.onEvent?.({ type: 'log', level: 'info', message: `inherits ${passphrase}, ${token}, ${tunables}` });
    }),
  machineConsole: async () => `${'line\n'.repeat(100_000)}end`,
  close: async () => undefined,
};

await runInProcess(process.argv.slice(2), async () => api as PrimaApi);
