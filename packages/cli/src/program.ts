/** The whole command line: global options, help, and every command. */
import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import type { Cli } from './cli.ts';
import { parseRate, parseSizeOrNone } from './options.ts';
import { registerBackup } from './commands/backup.ts';
import { registerCheck } from './commands/check.ts';
import { registerCollect } from './commands/collect.ts';
import { registerCopy } from './commands/copy.ts';
import { registerDemo } from './commands/demo.ts';
import { registerDiff } from './commands/diff.ts';
import { registerExport } from './commands/export.ts';
import { registerForget } from './commands/forget.ts';
import { registerHost } from './commands/host.ts';
import { registerInit } from './commands/init.ts';
import { registerKey } from './commands/key.ts';
import { registerLock } from './commands/lock.ts';
import { registerMachine } from './commands/machine.ts';
import { registerPoints } from './commands/points.ts';
import { registerRestore } from './commands/restore.ts';
import { registerShow } from './commands/show.ts';
import { registerStatus } from './commands/status.ts';
import { registerStorage } from './commands/storage.ts';

const epilogue = `
SOURCE is a disk file, a machine's folder or .vmx file, nbd://…, nbd+unix://…, or HOST/MACHINE.
POINT is a point's id or its beginning, latest, MACHINE@latest or MACHINE@TIME.

Environment: PRIMA_REPO, PRIMA_PASSPHRASE (the text itself), PRIMA_RECOVERY, PRIMA_TO_PASSPHRASE, PRIMA_HOME, NO_COLOR.
Exit status: 0 done; 2 wrong usage; 130 cancelled; the others are in docs/errors.md.`;

const groups: readonly (readonly [string, readonly ((program: Command, cli: Cli) => void)[]])[] = [
  [
    'Back up and bring back:',
    [registerBackup, registerPoints, registerShow, registerDiff, registerRestore, registerExport],
  ],
  [
    'Repository:',
    [
      registerInit,
      registerStatus,
      registerCopy,
      registerCheck,
      registerLock,
      registerForget,
      registerCollect,
      registerKey,
      registerStorage,
    ],
  ],
  ['Hosts and machines:', [registerHost, registerMachine]],
  ['Try it:', [registerDemo]],
];

export function buildProgram(cli: Cli): Command {
  const program = new Command('prima')
    .description('Backs up running virtual machines and brings them back.')
    .version(manifest.version)
    .option('--repo <url>', 'the repository (default: PRIMA_REPO)')
    .option('--passphrase-file <file>', 'read the passphrase from a file (default: PRIMA_PASSPHRASE, or ask)')
    .option('--key-file <file>', 'open the repository with a key file instead of a passphrase')
    .option('--recovery-file <file>', 'open it with the words of a recovery key (default: PRIMA_RECOVERY)')
    .option('--ask-recovery', 'ask for the words of a recovery key')
    .option('--home <folder>', "Prima's own state (default: PRIMA_HOME, or ~/.local/state/prima)")
    .option('--limit-upload <rate>', 'send no more than this a second to the repository: 10M', parseRate)
    .option('--limit-download <rate>', 'read no more than this a second from it', parseRate)
    .option(
      '--cache-size <size>',
      'room for what was read of a remote repository; 0: none (1G)',
      parseSizeOrNone,
    )
    .option('--json', 'print JSON: an object a line, the result last')
    .option('--quiet', 'no progress, no remarks')
    .option('--verbose', 'tell more; internal errors with their stack')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', epilogue);
  for (const [heading, commands] of groups) {
    program.commandsGroup(heading);
    for (const register of commands) register(program, cli);
  }
  program.commandsGroup('Help:').helpCommand('help [command]', 'show help for a command');
  return program;
}
