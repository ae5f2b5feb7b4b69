/** `prima copy`: copies restore points to another repository. */
import type { CallOptions, CopyRequest, CopyResult, PrimaApi, SecretSource } from '@prima/api';
import { formatBytes, UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { parseDuration } from '../options.ts';
import { count, shortId } from '../render/point.ts';
import { recoverySheet } from '../render/recovery-key.ts';
import { readRecoveryKey, readSecret } from '../secret.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { formatMinute } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

interface CopyOptions {
  to: string;
  toPassphraseFile?: string;
  toKeyFile?: string;
  toRecoveryFile?: string;
  create?: boolean;
  recovery?: boolean;
  machine?: string;
  all?: boolean;
  verify?: boolean;
  dryRun?: boolean;
  lock?: number;
  readBack: boolean;
}

export function registerCopy(program: Command, cli: Cli): void {
  program
    .command('copy')
    .description('copy points to another repository: what it lacks, verified')
    .argument('[point...]', 'these points')
    .requiredOption('--to <url>', 'the repository to copy to; --repo is the one to copy from')
    .option(
      '--to-passphrase-file <file>',
      'read its passphrase from a file (default: PRIMA_TO_PASSPHRASE, or ask)',
    )
    .option('--to-key-file <file>', 'open it with a key file')
    .option('--to-recovery-file <file>', 'open it with the words of a recovery key')
    .option('--create', 'make it first, in an empty place')
    .option('--recovery', 'with --create: make a recovery key for it besides and show its words, once')
    .option('--machine <machine>', "all of this machine's points: its name or id")
    .option('--all', 'all points')
    .option('--verify', 'then read both and compare them, also what had been copied before')
    .option('--dry-run', 'only say what would be copied')
    .option('--lock <time>', 'nobody can forget the copies for so long: 30d, 12h', parseDuration)
    .option('--no-read-back', 'do not read back and compare what was stored')
    .action(
      cli.action({ repository: true }, async (invocation, points: string[], options: CopyOptions) => {
        const secret = await targetSecret(invocation, options);
        const request = requestOf(points, options, secret);
        const result = await invocation.call(async (api, call) => {
          if (options.create) await create(invocation, api, { request, options, call });
          return await api.copy(request, call);
        });
        invocation.result(result, (page) => rendered(result, page));
        for (const { point, error } of result.results) {
          if (error) invocation.fault(`${shortId(point.id)} of ${point.machine}: ${error.message}`);
        }
        invocation.exitStatus = result.results.find(({ error }) => error)?.error?.exitStatus ?? 0;
      }),
    );
}

/** Makes the repository to copy to. Its words are shown at once: the copying may take hours, and may fail. */
async function create(
  invocation: Invocation,
  api: PrimaApi,
  { request, options, call }: { request: CopyRequest; options: CopyOptions; call: CallOptions },
): Promise<void> {
  const made = await api.copyCreate({ to: request.to, ...(options.recovery && { recovery: true }) }, call);
  if (!invocation.json)
    invocation.print(`Made the repository ${printable(made.id)} at ${printable(made.url)}`);
  if (made.words) invocation.recoveryKey(made.id, made.words, recoverySheet(made.words));
}

function assertFitting({ create, recovery, dryRun, toRecoveryFile }: CopyOptions): void {
  if (recovery && !create) throw new UserError('usage', '--recovery is for a repository that --create makes');
  if (!create) return;
  if (dryRun) throw new UserError('usage', '--dry-run makes no repository: leave out --create');
  if (toRecoveryFile === undefined) return;
  throw new UserError(
    'usage',
    'a new repository gets a passphrase or a key file; --recovery makes a recovery key besides',
  );
}

async function targetSecret(invocation: Invocation, options: CopyOptions): Promise<SecretSource> {
  assertFitting(options);
  const { toPassphraseFile, toKeyFile, toRecoveryFile: file, create = false } = options;
  const warn = (message: string) => invocation.warn(message);
  if (file !== undefined && (toPassphraseFile ?? toKeyFile) !== undefined)
    throw new UserError(
      'usage',
      'give only one of --to-passphrase-file, --to-key-file and --to-recovery-file',
    );
  const words = await readRecoveryKey(
    { fromEnvironment: false, warn, ...(file !== undefined && { file }) },
    invocation.environment,
  );
  if (words !== undefined) return { kind: 'recovery', words };
  const secret = await readSecret(
    {
      what: 'passphrase of the repository to copy to',
      variable: 'PRIMA_TO_PASSPHRASE',
      options: { passphraseFile: '--to-passphrase-file', keyFile: '--to-key-file' },
      confirm: create,
      warn,
      ...(toPassphraseFile !== undefined && { passphraseFile: toPassphraseFile }),
      ...(toKeyFile !== undefined && { keyFile: toKeyFile }),
    },
    invocation.environment,
  );
  return invocation.sourceOf(secret, toKeyFile);
}

function requestOf(points: string[], options: CopyOptions, secret: SecretSource): CopyRequest {
  const { to, machine, all, verify, dryRun, lock, readBack } = options;
  return {
    ...(points.length > 0 && { points }),
    ...(machine !== undefined && { machine }),
    ...(all && { all }),
    to: { url: to, secret },
    ...(verify && { verify }),
    ...(dryRun && { dryRun }),
    ...(lock !== undefined && { lockMs: lock }),
    ...(!readBack && { readBack: false }),
  };
}

type Row = CopyResult['results'][number];

const words = { copied: 'copied', present: 'there', planned: 'to copy', failed: 'FAILED' } as const;

const columns: readonly Column<Row>[] = [
  {
    title: 'RESULT',
    value: ({ state, verified }) => `${words[state]}${verified ? ', same' : ''}`,
    paint: (paint, text, { state }) => (state === 'failed' ? paint('red', text) : text),
    importance: 10,
  },
  { title: 'POINT', value: ({ point }) => shortId(point.id), importance: 9 },
  { title: 'COPY', value: ({ copy }) => (copy ? shortId(copy.id) : ''), importance: 7 },
  { title: 'MACHINE', value: ({ point }) => point.machine, importance: 6, minWidth: 10 },
  { title: 'TIME', value: ({ point }) => formatMinute(point.time), importance: 8, minWidth: 16 },
  {
    title: 'READ',
    value: ({ state, bytes }) => (state === 'present' ? '' : formatBytes(bytes)),
    align: 'right',
    importance: 5,
  },
  {
    title: 'STORED',
    value: ({ state, copy }) => (state === 'copied' && copy ? formatBytes(copy.stored) : ''),
    align: 'right',
    importance: 4,
  },
];

function rendered({ dryRun, to, results }: CopyResult, page: Page): string {
  const of = (state: Row['state']) => results.filter((row) => row.state === state);
  const read = results.reduce((sum, { bytes }) => sum + bytes, 0);
  const failed = of('failed').length;
  const done = dryRun
    ? `Would copy ${count(of('planned').length, 'point')} to ${printable(to.url)}, reading ${formatBytes(read)} at most`
    : `Copied ${count(of('copied').length, 'point')} to ${printable(to.url)}, read ${formatBytes(read)}`;
  return [
    ...(results.length > 0 ? [table(columns, results, page)] : []),
    `${done}; ${of('present').length} there already${failed > 0 ? `, ${failed} failed` : ''}`,
  ].join('\n');
}
