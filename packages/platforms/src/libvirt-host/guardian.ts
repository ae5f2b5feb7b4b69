/**
 * The guardian of one backup on one libvirt machine: node guardian.ts URI MACHINE-UUID RUN
 *
 * Waits for the end of its standard input. When that did not say "done", it undoes what the note in the machine's metadata
 * says, if that is still this run's. A host that cannot be reached is tried for a long time: while the network is away
 * the guest may be frozen there.
 */
import { systemClock, toPrimaError } from '@prima/base';
import { findDomain } from './find-domain.ts';
import { HostLink } from './link.ts';
import { readRunNote } from './run-note.ts';
import { undoRun } from './undo.ts';

/** Pauses grow from 1 s to 30 s: some three hours in all. */
const attempts = 360;
const longestPauseMs = 30_000;

async function hearsDone(): Promise<boolean> {
  let heard = '';
  for await (const piece of process.stdin) heard = (heard + String(piece)).slice(-16);
  return heard.endsWith('done\n');
}

async function undo(link: HostLink, machine: string, run: string): Promise<void> {
  const connection = await link.connection();
  const dom = await findDomain(connection, machine);
  if (!dom) return;
  const note = await readRunNote(connection, dom);
  if (note?.run !== run) return;
  await undoRun(connection, dom, note, note.isCommitting ? 'keep' : 'discard');
}

async function main(): Promise<number> {
  const [uri = '', machine = '', run = ''] = process.argv.slice(2);
  process.stdout.write('listening\n');
  if (await hearsDone()) return 0;
  const link = new HostLink(uri);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await undo(link, machine, run);
      return 0;
    } catch (error) {
      const { code } = toPrimaError(error, 'undoing a backup');
      if (code === 'internal' || code === 'usage' || attempt === attempts) return 1;
    } finally {
      await link.close();
    }
    await systemClock.sleep(Math.min(attempt * 1000, longestPauseMs));
  }
}

process.exit(await main());
