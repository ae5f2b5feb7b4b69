/**
 * The gate before every commit: form, lint, types, layers, dead code, unit tests, side by side.
 * usage: npm run ok [-- PATH…]   with paths, unit tests run only below them
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const bin = (name: string) => join(root, 'node_modules/.bin', name);
const paths = process.argv.slice(2);
const allTests = globSync('packages/*/src/**/*.test.ts', { cwd: root, exclude: ['**/*.long.test.ts'] });
const tests = allTests.filter((file) => paths.length === 0 || paths.some((path) => file.startsWith(path)));

// Node's own choice leaves one processor free, which on two is half of them
const testOptions = [
  '--test-reporter=dot',
  '--test-timeout=180000',
  `--test-concurrency=${availableParallelism()}`,
];

const steps: [name: string, program: string, args: string[]][] = [
  ['format', bin('biome'), ['format', '--reporter=summary', '.']],
  ['lint', bin('oxlint'), ['--type-aware', '--deny-warnings', '--format=unix']],
  [
    'types',
    bin('tsc'),
    ['-p', '.', '--incremental', '--tsBuildInfoFile', 'node_modules/.cache/types.tsbuildinfo'],
  ],
  [
    'page types',
    bin('tsc'),
    [
      '-p',
      'packages/panel',
      '--incremental',
      '--tsBuildInfoFile',
      'node_modules/.cache/page-types.tsbuildinfo',
    ],
  ],
  ['layers', process.execPath, ['scripts/check-layers.ts']],
  ['dead code', bin('knip'), ['--no-progress']],
];
// A package may have none, such as the api's; without files `--test` would look for its own
if (tests.length > 0) steps.push(['unit tests', process.execPath, ['--test', ...testOptions, ...tests]]);

function run(program: string, args: string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => output.push(data));
    child.stderr.on('data', (data: Buffer) => output.push(data));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? 1, output: Buffer.concat(output).toString() }));
  });
}

if (allTests.length === 0) throw new Error('found no unit tests: the gate itself is broken');
const start = performance.now();
const results = await Promise.all(
  steps.map(async ([name, program, args]) => {
    const { status, output } = await run(program, args);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${seconds} s`);
    return { name, status, output };
  }),
);
const failed = results.filter((result) => result.status !== 0);
for (const { name, output } of failed) console.error(`\n── ${name} ──\n${output.slice(-12_000)}`);
process.exit(failed.length === 0 ? 0 : 1);
