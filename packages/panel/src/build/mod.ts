/** Builds the panel's files where they are older than what they are made of. */
import { existsSync, globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'vite';

const root = join(import.meta.dirname, '../..');
const sources = ['src/page/**/*', 'index.html', 'vite.config.ts', 'package.json', '../api/src/http/*.ts'];

/** The folder with the files; whoever serves it answers `/index.html` for each path that is none of them. Takes seconds where it builds. */
export async function buildPanel(): Promise<string> {
  const folder = join(root, 'dist');
  if (isOld(join(folder, 'index.html')))
    await build({ configFile: join(root, 'vite.config.ts'), logLevel: 'warn' });
  return folder;
}

function isOld(made: string): boolean {
  if (!existsSync(made)) return true;
  const { mtimeMs } = statSync(made);
  return globSync(sources, { cwd: root }).some((file) => statSync(join(root, file)).mtimeMs > mtimeMs);
}
