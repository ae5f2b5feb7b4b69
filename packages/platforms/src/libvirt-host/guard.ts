/**
 * A process beside a backup that takes it back when the backup's process dies (guardian.ts). It hears of that through its
 * standard input, and is in a session of its own, so that Ctrl-C reaches only us.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { PrimaError, toPrimaError, withDeadline } from '@prima/base';

export interface Guard {
  /** Nothing is left to undo. May be called again. */
  release(): Promise<void>;
  /**
   * Lets it undo what the machine's note says, and waits for that, 30 s at most. Answers whether it is done; where it is
   * not the guardian goes on alone, for as long as the host cannot be reached.
   */
  abandon(): Promise<boolean>;
}

const guardianPath = join(import.meta.dirname, 'guardian.ts');
const startTimeoutMs = 30_000;
const patienceMs = 30_000;

/** What a connection to the daemon may need; our own environment may hold a passphrase, which a process that outlives us does not get. */
const passed = [
  'NODE_COMPILE_CACHE',
  'PATH',
  'HOME',
  'SSH_AUTH_SOCK',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'USER',
];

/** Starts the guardian of one run on one machine, and waits until it listens. */
export async function startGuard(uri: string, machine: string, run: string): Promise<Guard> {
  const env = Object.fromEntries(
    passed.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
  const args = ['--disable-warning=ExperimentalWarning', guardianPath, uri, machine, run];
  const child = spawn(process.execPath, args, {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
    cwd: '/',
    env: { ...env, LC_ALL: 'C' },
  });
  child.stdin.on('error', () => undefined); // it may be gone; its exit says so
  const listening = new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', (error) => reject(toPrimaError(error, 'starting the guardian')));
    child.once('exit', (status) => reject(new PrimaError('io', `the guardian ended with status ${status}`)));
  });
  listening.catch(() => undefined); // told below
  try {
    await withDeadline(startTimeoutMs, 'starting the guardian of a backup', () => listening);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  child.unref();
  child.stdout.destroy();
  const end = async (message: string): Promise<boolean> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = Promise.withResolvers<void>();
      const timer = setTimeout(exited.resolve, patienceMs); // it goes on alone then
      child.once('exit', () => exited.resolve());
      child.stdin.end(message);
      await exited.promise;
      clearTimeout(timer);
    }
    return child.exitCode === 0;
  };
  let ended: Promise<boolean> | undefined;
  return {
    release: async () => void (await (ended ??= end('done\n'))),
    abandon: () => (ended ??= end('')),
  };
}
