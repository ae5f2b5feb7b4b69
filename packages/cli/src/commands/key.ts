/** `prima key`: what opens the repository. */
import type { KeyAddRequest, KeySlotDto } from '@prima/api';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { registerRotate } from './key-rotate.ts';
import { recoverySheet } from '../render/recovery-key.ts';
import { readSecret } from '../secret.ts';
import { type Column, table } from '../terminal/table.ts';
import { formatMinute } from '../terminal/time.ts';
import { printable } from '../terminal/width.ts';

interface AddOptions {
  label: string;
  newPassphraseFile?: string;
  newKeyFile?: string;
  recovery?: boolean;
  readOnly?: boolean;
}

export function registerKey(program: Command, cli: Cli): void {
  const key = program.command('key').description('list, add, remove and rotate what opens the repository');
  key
    .command('list')
    .description('list the key slots')
    .action(
      cli.action({ repository: true }, async (invocation) => {
        const slots = await invocation.call((api, call) => api.keyList(call));
        invocation.result(slots, (page) => table(columns, slots, page));
      }),
    );
  registerAdd(key, cli);
  key
    .command('remove')
    .description('remove a key slot')
    .argument('<id>', 'the slot, as in prima key list')
    .option('--force', 'also the slot that this command itself uses')
    .action(
      cli.action({ repository: true }, async (invocation, id: string, options: { force?: boolean }) => {
        await invocation.call((api, call) =>
          api.keyRemove({ id, ...(options.force && { force: true }) }, call),
        );
        invocation.result({ removed: id }, () => `Removed key slot ${printable(id)}`);
      }),
    );
  registerRotate(key, cli);
}

function registerAdd(key: Command, cli: Cli): void {
  key
    .command('add')
    .description('add a passphrase (default: PRIMA_NEW_PASSPHRASE, or ask), key file or recovery key')
    .requiredOption('--label <text>', 'what the slot is for')
    .option('--new-passphrase-file <file>', 'read the new passphrase from a file')
    .option('--new-key-file <file>', 'the new key file; any file with enough random bytes')
    .option('--recovery', 'make a recovery key and show its words, once, to be kept on paper')
    .option('--read-only', 'the new key opens the repository for reading only')
    .action(
      cli.action({ repository: true }, async (invocation, options: AddOptions) => {
        const { label, readOnly } = options;
        const secret = await newSecret(invocation, options);
        const request = { secret, label, ...(readOnly && { readOnly }) };
        const slot = await invocation.call((api, call) => api.keyAdd(request, call));
        invocation.result(slot, () =>
          [
            `Added key slot ${printable(slot.id)} (${slot.kind}, ${printable(slot.label)})`,
            ...(slot.words ? ['', recoverySheet(slot.words)] : []),
          ].join('\n'),
        );
      }),
    );
}

const columns: readonly Column<KeySlotDto>[] = [
  { title: 'SLOT', value: (slot) => slot.id, importance: 9 },
  { title: 'KIND', value: (slot) => slot.kind, importance: 5 },
  { title: 'ACCESS', value: (slot) => slot.access, importance: 3 },
  { title: 'CREATED', value: (slot) => formatMinute(slot.created), importance: 4, minWidth: 16 },
  { title: 'LABEL', value: (slot) => slot.label, importance: 6 },
];

async function newSecret(invocation: Invocation, options: AddOptions): Promise<KeyAddRequest['secret']> {
  const { newPassphraseFile, newKeyFile, recovery } = options;
  if (recovery) {
    if (newPassphraseFile === undefined && newKeyFile === undefined) return { kind: 'new-recovery' };
    throw new UserError('usage', 'give one of --recovery, --new-passphrase-file and --new-key-file');
  }
  const secret = await readSecret(
    {
      what: 'new passphrase',
      variable: 'PRIMA_NEW_PASSPHRASE',
      options: { passphraseFile: '--new-passphrase-file', keyFile: '--new-key-file' },
      confirm: true,
      warn: (message) => invocation.warn(message),
      ...(newPassphraseFile !== undefined && { passphraseFile: newPassphraseFile }),
      ...(newKeyFile !== undefined && { keyFile: newKeyFile }),
    },
    invocation.environment,
  );
  return invocation.sourceOf(secret, newKeyFile);
}
