/** `prima self`: what a server itself knows, backed up into one file and brought back. */
import { resolve } from 'node:path';
import { formatBytes, UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { facts } from '../terminal/table.ts';

interface SelfFlags {
  database?: string;
  unencrypted?: boolean;
}

const database = 'postgres://USER@HOST/NAME, or a file (default: server.sqlite in --home)';

export function registerSelf(program: Command, cli: Cli): void {
  const self = program
    .command('self')
    .description("back up and bring back a server's own state: accounts, policies, jobs, audit log, keys");
  self
    .command('backup')
    .description('make a backup of it, beside a running server, too')
    .argument(
      '<file>',
      'the backup; encrypted with --passphrase-file, PRIMA_PASSPHRASE, or what is asked for',
    )
    .option('--database <url>', database)
    .option('--unencrypted', 'whoever has the file can read it, the key of all stored secrets included')
    .action(
      cli.action({ newSecret: true }, async (invocation, file: string, flags: SelfFlags) => {
        const request = {
          file: resolve(file),
          ...databaseOf(flags),
          ...(await passphraseOf(invocation, flags)),
        };
        const made = await invocation.call((api, call) => api.selfBackup(request, call));
        invocation.result(made, (page) =>
          facts(
            [
              ['Backup', made.file],
              ['Holds', `${made.rows} rows, ${made.files} files, ${formatBytes(made.bytes)}`],
              [
                'Encrypted',
                made.encrypted ? 'yes' : 'no: it holds the key of all stored secrets, keep it safe',
              ],
            ],
            page,
          ),
        );
      }),
    );
  self
    .command('restore')
    .description('bring it back, into a --home and a database that are empty; then start the server')
    .argument('<file>', 'the backup')
    .option('--database <url>', database)
    .option('--unencrypted', 'it has no passphrase')
    .action(
      cli.action({}, async (invocation, file: string, flags: SelfFlags) => {
        const request = {
          file: resolve(file),
          ...databaseOf(flags),
          ...(await passphraseOf(invocation, flags)),
        };
        const back = await invocation.call((api, call) => api.selfRestore(request, call));
        for (const name of back.brokenAudits)
          invocation.warn(`the audit log of ${name} is not whole in the backup: see who has changed it`);
        invocation.result(back, (page) =>
          facts(
            [
              ['State of', `${back.created}, by Prima ${back.prima}`],
              ['Restored', `${back.rows} rows, ${back.files} files`],
              ['Next', 'start the server; end the one before first, if it still runs anywhere'],
            ],
            page,
          ),
        );
      }),
    );
}

function databaseOf({ database: given }: SelfFlags): { database?: string } {
  if (given === undefined) return {};
  return { database: /^\w+:\/\//.test(given) ? given : resolve(given) };
}

async function passphraseOf(
  invocation: Invocation,
  { unencrypted = false }: SelfFlags,
): Promise<{ passphrase?: string }> {
  if (unencrypted) return {};
  const secret = await invocation.secret();
  if (secret.kind === 'passphrase') return { passphrase: secret.text };
  throw new UserError('usage', 'the state is encrypted with a passphrase: give --passphrase-file');
}
