/** The log of roots: which restore points there must be. See "Log of roots" of the format. */
import { IntegrityError, RemoteError } from '@prima/base';
import { type Context, getSealed, parseRecord, putRecord } from '../context.ts';
import { blobType } from '../format/blob.ts';
import { digestOf } from './sessions.ts';

export interface LogEntry {
  seq: number;
  previous: string;
  event: 'committed' | 'forgotten';
  session: string;
  outcome: string;
  time: string;
}

export interface RootLog {
  entries: LogEntry[];
  /** Digest of the newest stored entry. */
  head: string;
}

const start = '0'.repeat(64);
const maxRaces = 1000;

const logKey = (seq: number) => `log/${String(seq).padStart(10, '0')}`;

/** Reads the whole log and checks its chain. Raises `integrity` at a gap or a broken link. */
export async function readLog(context: Context): Promise<RootLog> {
  const keys: string[] = [];
  for await (const { key } of context.store.list('log/')) keys.push(key);
  const entries: LogEntry[] = [];
  let head = start;
  for (const [index, key] of keys.entries()) {
    const seq = index + 1;
    if (key !== logKey(seq))
      throw new IntegrityError(`the log of roots has ${key} where ${logKey(seq)} should be`);
    const { plain, stored } = await getSealed(context, key, blobType.logEntry);
    const entry = parseRecord(plain, key) as LogEntry;
    if (entry.seq !== seq || entry.previous !== head) {
      throw new IntegrityError(
        `${key} does not follow the entry before it: the log of roots was tampered with`,
      );
    }
    entries.push(entry);
    head = digestOf(stored);
  }
  return { entries, head };
}

/** The last entry's number and digest, without reading the ones before. */
async function readHead(context: Context): Promise<{ seq: number; head: string }> {
  let last: string | undefined;
  for await (const { key } of context.store.list('log/')) last = key;
  if (last === undefined) return { seq: 0, head: start };
  return {
    seq: Number(last.slice(4)),
    head: digestOf(await context.store.get(last, undefined, { fresh: true })),
  };
}

/** Appends an entry; when somebody else takes the number, tries the next. */
export async function appendLog(
  context: Context,
  event: Pick<LogEntry, 'event' | 'session' | 'outcome'>,
): Promise<void> {
  for (let race = 0; race < maxRaces; race += 1) {
    const { seq, head } = await readHead(context);
    const entry: LogEntry = {
      seq: seq + 1,
      previous: head,
      ...event,
      time: new Date(context.clock.now()).toISOString(),
    };
    const { result } = await putRecord(context, logKey(entry.seq), blobType.logEntry, entry);
    if (result === 'created') return;
  }
  throw new RemoteError('the log of roots is being written by too many others; try again', {
    retryable: true,
  });
}
