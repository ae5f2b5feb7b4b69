/**
 * Everything: sets up what the tests need, then the gate, then the tests with real programs and machines.
 * usage: npm test [-- PATTERN…]   with patterns, only the test files whose path contains one, without the gate
 * Ends with one line, "N passed, N failed", over all of it; exit status 1 when anything failed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { globSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { createLogger, PrimaError, systemErrorCode } from '@prima/base';
import { buildTinyGuest, ensureDebianPackages, packagesFor } from '@prima/testbed';

const root = join(import.meta.dirname, '..');
const patterns = process.argv.slice(2);
const totalMinutes = 75;

/** Test files that run together: how many at a time, and how long one may take. */
interface Group {
  name: string;
  files: string[];
  concurrency: number;
  minutes: number;
}

interface Tally {
  passed: number;
  failed: number;
}

const matching = (glob: string) =>
  globSync(glob, { cwd: root })
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort();

/** The groups to run; machines are slow in software emulation, so they get the processors to themselves. */
function groups(): Group[] {
  const all: Group[] = [
    { name: 'interop', files: matching('tests/interop/**/*.test.ts'), concurrency: 2, minutes: 10 },
    { name: 'long', files: matching('packages/*/src/**/*.long.test.ts'), concurrency: 2, minutes: 10 },
    { name: 'formats', files: matching('tests/formats/**/*.test.ts'), concurrency: 1, minutes: 5 },
    { name: 'model', files: matching('tests/model/**/*.test.ts'), concurrency: 1, minutes: 10 },
    { name: 'simulator', files: matching('tests/simulator/**/*.test.ts'), concurrency: 1, minutes: 10 },
    { name: 'fuzz', files: matching('tests/fuzz/**/*.test.ts'), concurrency: 2, minutes: 10 },
    { name: 'e2e', files: matching('tests/e2e/**/*.test.ts'), concurrency: 1, minutes: 20 },
    { name: 'server', files: matching('tests/server/**/*.test.ts'), concurrency: 1, minutes: 10 },
    { name: 'browser', files: matching('tests/browser/**/*.test.ts'), concurrency: 1, minutes: 10 },
    { name: 'crash', files: matching('tests/crash/**/*.test.ts'), concurrency: 1, minutes: 20 },
  ];
  if (patterns.length === 0) return all; // an empty group fails: tests do not get lost in silence
  const unit = matching('packages/*/src/**/*.test.ts').filter((file) => !file.endsWith('.long.test.ts'));
  all.push({ name: 'unit', files: unit, concurrency: 2, minutes: 1 });
  return all.filter((group) => group.files.length > 0);
}

/** Every process that the tests start inherits this, and is found by it when it was left behind. */
const mark = `PRIMA_TEST_RUN=${process.pid}-${Date.now()}`;
const running = new Set<ChildProcess>();

/** Runs Node on `args`, showing what it prints, and returns that with the exit status. */
function runNode(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ status: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
    running.add(child);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      process.stdout.write(text);
      output += stripVTControlCharacters(text);
    });
    child.on('error', reject);
    child.on('close', (status) => {
      running.delete(child);
      resolve({ status: status ?? 1, output });
    });
  });
}

/** The gate; each of its checks counts as one. */
async function runGate(env: NodeJS.ProcessEnv): Promise<Tally> {
  console.log('\n── gate ──');
  const { status, output } = await runNode(['scripts/ok.ts'], env);
  const passed = output.match(/^ok {2}/gm)?.length ?? 0;
  const failed = output.match(/^FAILED/gm)?.length ?? 0;
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed };
}

async function runGroup(group: Group, env: NodeJS.ProcessEnv): Promise<Tally> {
  console.log(`\n── ${group.name} ──`);
  if (group.files.length === 0) {
    console.error(`no test files in tests/${group.name}`);
    return { passed: 0, failed: 1 };
  }
  const limits = [`--test-concurrency=${group.concurrency}`, `--test-timeout=${group.minutes * 60_000}`];
  const args = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', ...limits];
  const { status, output } = await runNode([...args, ...group.files], env);
  const count = (name: string) => Number(new RegExp(`^ℹ ${name} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const failed = count('fail') + count('cancelled') + count('skipped') + count('todo');
  return { passed: count('pass'), failed: status !== 0 && failed === 0 ? 1 : failed };
}

/** Ends what the tests left running, and says what that was. Only processes that carry our mark, or are in a namespace with one. */
function killLeftovers(): void {
  for (const child of running) child.kill('SIGKILL');
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const marked = pids.filter((pid) => ofProcess(pid, isMarked));
  // libvirt gives its machines an environment of their own
  const own = mountsOf('self');
  const namespaces = new Set(
    marked.map((pid) => ofProcess(pid, mountsOf)).filter((mounts) => mounts !== own),
  );
  const inside = pids.filter((pid) => {
    const mounts = ofProcess(pid, mountsOf);
    return mounts !== undefined && namespaces.has(mounts);
  });
  for (const pid of new Set([...marked, ...inside])) {
    ofProcess(pid, () => {
      console.error(`left running, killed: ${readFileSync(`/proc/${pid}/comm`, 'latin1').trim()} (${pid})`);
      process.kill(Number(pid), 'SIGKILL');
    });
  }
}

const isMarked = (pid: string) => readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(mark);
const mountsOf = (pid: string) => readlinkSync(`/proc/${pid}/ns/mnt`);

/** Undefined for a process that has ended meanwhile, or is somebody else's. */
function ofProcess<T>(pid: string, task: (pid: string) => T): T | undefined {
  try {
    return task(pid);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}

async function setUp(): Promise<void> {
  const log = createLogger((event) => console.log(`set-up: ${event.message}`));
  await ensureDebianPackages(
    packagesFor(
      'guest',
      'machines',
      'interop',
      'file-systems',
      'objects',
      'luns',
      'libvirt',
      'browser',
      'postgres',
    ),
    {
      log,
    },
  );
  await buildTinyGuest({ log });
}

async function main(): Promise<number> {
  const plan = groups();
  if (plan.length === 0)
    throw new PrimaError('usage', `no test file's path contains ${patterns.join(' or ')}`);
  if (plan.some((group) => group.name !== 'unit')) await setUp();
  // one folder for all temporary files, so that none stays behind; short, for the sockets in it
  const temporary = await mkdtemp(join(tmpdir(), 'prima-'));
  await chmod(temporary, 0o711); // machines that run as another user pass through it
  const [name = '', value] = mark.split('=');
  const colour = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {};
  const env = { ...process.env, ...colour, TMPDIR: temporary, [name]: value };
  const total = { passed: 0, failed: 0 };
  const stop = (reason: string, status: number) => {
    console.error(`\n${reason}; killing what is running`);
    killLeftovers();
    rmSync(temporary, { recursive: true, force: true, maxRetries: 5 });
    process.exit(status);
  };
  const timer = setTimeout(() => stop(`not done after ${totalMinutes} minutes`, 1), totalMinutes * 60_000);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop(`stopped by ${signal}`, 130));
  }
  try {
    const jobs = [...(patterns.length === 0 ? [runGate] : []), ...plan.map((g) => runGroup.bind(null, g))];
    for (const job of jobs) {
      const { passed, failed } = await job(env);
      total.passed += passed;
      total.failed += failed;
      killLeftovers();
    }
  } finally {
    clearTimeout(timer);
    await rm(temporary, { recursive: true, force: true, maxRetries: 5 });
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof PrimaError)) throw error;
  console.error(`npm test: ${error.message}`);
  process.exitCode = error.exitStatus;
}
