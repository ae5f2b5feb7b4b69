/** `prima key rotate`: a new data key, or with `--root` a new root key. */
import { resolve } from 'node:path';
import type { RootKeyRotationDto, SecretSource } from '@prima/api';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { collect } from '../options.ts';
import { count } from '../render/point.ts';
import { readRecoveryKey, readSecret } from '../secret.ts';
import type { Page } from '../terminal/style.ts';
import { type Column, table } from '../terminal/table.ts';
import { printable } from '../terminal/width.ts';

interface RotateOptions {
  root?: boolean;
  alsoPassphraseFile?: string[];
  alsoKeyFile?: string[];
  alsoRecoveryFile?: string[];
  dropOthers?: boolean;
}

export function registerRotate(key: Command, cli: Cli): void {
  key
    .command('rotate')
    .description('use a new data key for what is written from now on; with --root a new root key')
    .option('--root', 'a new root key: slots stay whose secrets are given')
    .option('--also-passphrase-file <file>', 'keep the slot of this passphrase, too', collect)
    .option('--also-key-file <file>', 'keep the slot of this key file, too', collect)
    .option('--also-recovery-file <file>', 'keep the slot of this recovery key, too', collect)
    .option('--drop-others', 'let the other slots go')
    .action(
      cli.action({ repository: true }, async (invocation, options: RotateOptions) => {
        if (options.root) await rotateRoot(invocation, options);
        else await rotate(invocation, options);
      }),
    );
}

async function rotate(invocation: Invocation, options: RotateOptions): Promise<void> {
  if (Object.keys(options).length > 0)
    throw new UserError('usage', '--also-… and --drop-others are for a new root key: give --root, too');
  const rotation = await invocation.call((api, call) => api.keyRotate(call));
  const { epoch, keySet } = rotation;
  invocation.result(
    rotation,
    () => `Backups use data key ${epoch} from now on (key set ${keySet}); older ones stay for reading`,
  );
}

async function rotateRoot(invocation: Invocation, options: RotateOptions): Promise<void> {
  const others = await otherSecrets(invocation, options);
  const request = { ...(others.length > 0 && { others }), ...(options.dropOthers && { dropOthers: true }) };
  const rotation = await invocation.call((api, call) => api.keyRotateRoot(request, call));
  invocation.result(rotation, (page) => rendered(rotation, page));
}

async function otherSecrets(invocation: Invocation, options: RotateOptions): Promise<SecretSource[]> {
  const { environment } = invocation;
  const warn = (message: string) => invocation.warn(message);
  const kept = {
    what: 'passphrase to keep',
    variable: 'PRIMA_NEW_PASSPHRASE',
    options: { passphraseFile: '--also-passphrase-file', keyFile: '--also-key-file' },
    confirm: false,
    warn,
  } as const;
  const secrets: SecretSource[] = [];
  for (const passphraseFile of options.alsoPassphraseFile ?? []) {
    secrets.push(invocation.sourceOf(await readSecret({ ...kept, passphraseFile }, environment)));
  }
  for (const keyFile of options.alsoKeyFile ?? []) {
    if (invocation.usesServer)
      secrets.push(invocation.sourceOf(await readSecret({ ...kept, keyFile }, environment)));
    else secrets.push({ kind: 'keyfile', path: resolve(keyFile) });
  }
  for (const file of options.alsoRecoveryFile ?? []) {
    const words = await readRecoveryKey({ file, fromEnvironment: false, warn }, environment);
    if (words !== undefined) secrets.push({ kind: 'recovery', words });
  }
  return secrets;
}

const columns: readonly Column<RootKeyRotationDto['slots'][number]>[] = [
  { title: 'SLOT', value: (slot) => slot.id, importance: 9 },
  { title: 'BEFORE', value: (slot) => slot.before, importance: 4 },
  { title: 'KIND', value: (slot) => slot.kind, importance: 5 },
  { title: 'ACCESS', value: (slot) => slot.access, importance: 3 },
  { title: 'LABEL', value: (slot) => slot.label, importance: 6 },
];

function rendered({ keySet, epoch, slots, dropped, left }: RootKeyRotationDto, page: Page): string {
  const names = dropped.map(({ id, kind = 'damaged', label = '' }) => `${id} (${kind}, ${label})`);
  return [
    table(columns, slots, page),
    ...(dropped.length > 0
      ? [`Dropped ${count(dropped.length, 'slot')}: ${printable(names.join(', '))}`]
      : []),
    ...(left.length > 0
      ? [`The storage keeps ${count(left.length, 'old slot')}; they open what was written before`]
      : []),
    `The root key is new, and data key ${epoch} is used from now on (key set ${keySet}). What was written before stays under the old ones`,
  ].join('\n');
}
