/**
 * The guardian of a live backup, a process of its own: `flock … node guardian.ts VMX`. It says "held" when it is up
 * (flock has the machine's lock by then), and waits. When its standard input ends with "done" it just goes;
 * when it ends otherwise, the process that started it died: what backup.json says is undone. The lock is held
 * until it ends.
 */
import { basename, dirname } from 'node:path';
import { systemClock, toPrimaError } from '@prima/base';
import { machinePaths } from './machine-folder.ts';
import { undoLeftBackup } from './undo.ts';

/** Tries this often, so long apart; after that the note stays for the next run. */
const attempts = 8;
const pauseMs = 5_000;

const [vmx] = process.argv.slice(2);
if (vmx === undefined) {
  process.stderr.write('guardian: name a machine\n');
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.stdout.on('error', () => undefined); // who reads it may be dead already
process.stdout.write('held\n');
process.exitCode = (await heardDone()) ? 0 : await undo(vmx);

async function heardDone(): Promise<boolean> {
  let heard = '';
  for await (const piece of process.stdin.setEncoding('utf8')) heard = (heard + String(piece)).slice(-16);
  return heard.endsWith('done\n');
}

async function undo(path: string): Promise<number> {
  const paths = machinePaths(dirname(path), basename(path));
  for (let attempt = 1; ; attempt += 1) {
    try {
      await undoLeftBackup(paths);
      return 0;
    } catch (error) {
      process.stderr.write(`guardian: ${toPrimaError(error, 'undoing a backup').message}\n`);
      if (attempt === attempts) return 1;
    }
    await systemClock.sleep(pauseMs);
  }
}
