import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const main = join(import.meta.dirname, 'main.ts');

const tracing = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module';
  const loaded = [];
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context);
      loaded.push(found.url);
      return found;
    },
  });
  process.on('exit', () => process.stdout.write('\\n' + JSON.stringify(loaded)));
`)}`;

/** The addresses of the modules that a run of the command line loads. */
function loadedBy(...argv: string[]): string[] {
  const text = execFileSync(process.execPath, ['--import', tracing, main, ...argv], { encoding: 'utf8' });
  return JSON.parse(text.slice(text.lastIndexOf('\n'))) as string[];
}

test('working in process, the command line loads the types of the contract, and neither its schemas nor zod', () => {
  const home = mkdtempSync(join(tmpdir(), 'prima-loading-'));
  after(() => rmSync(home, { recursive: true }));
  for (const argv of [['--help'], ['host', 'list', '--json', '--home', home]]) {
    const loaded = loadedBy(...argv);
    assert.equal(
      loaded.some((url) => url.endsWith('/server/src/operations/hosts.ts')),
      argv.includes('list'),
    );
    assert.deepEqual(
      loaded.filter((url) => url.includes('/zod/') || url.includes('/packages/api/')),
      [],
    );
  }
});
