/** Where `prima` starts: the real environment around `run`. */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

// What Node makes of the sources is kept beside them (same owner, same trust); it halves the start.
enableCompileCache(
  process.env['NODE_COMPILE_CACHE'] ?? join(import.meta.dirname, '../../../node_modules/.cache/node'),
);
const { runInProcess } = await import('./process.ts');
await runInProcess(process.argv.slice(2));
