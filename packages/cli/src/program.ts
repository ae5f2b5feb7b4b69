/** The whole command line: global options, help, and every command. */
import { Command } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import type { Cli } from './cli.ts';
import { parseRate, parseSizeOrNone } from './options.ts';

const epilogue = `
SOURCE is a disk file, an OVA or OVF envelope, a machine's folder or .vmx file, nbd://…, nbd+unix://…, or HOST/MACHINE.
POINT is a point's id or its beginning, latest, MACHINE@latest or MACHINE@TIME.

Environment: PRIMA_REPO, PRIMA_PASSPHRASE (the text itself), PRIMA_RECOVERY, PRIMA_TO_PASSPHRASE, PRIMA_HOME,
PRIMA_SERVER, PRIMA_TOKEN, PRIMA_SERVER_CA, PRIMA_SERVER_FINGERPRINT, NO_COLOR.
Exit status: 0 done; 2 wrong usage; 130 cancelled; the others are in docs/errors.md.`;

type Register = (program: Command, cli: Cli) => void;

const groups: Record<string, Record<string, () => Promise<Register>>> = {
  'Back up and bring back:': {
    backup: async () => (await import('./commands/backup.ts')).registerBackup,
    points: async () => (await import('./commands/points.ts')).registerPoints,
    show: async () => (await import('./commands/show.ts')).registerShow,
    diff: async () => (await import('./commands/diff.ts')).registerDiff,
    restore: async () => (await import('./commands/restore.ts')).registerRestore,
    recover: async () => (await import('./commands/recover.ts')).registerRecover,
    export: async () => (await import('./commands/export.ts')).registerExport,
  },
  'Repository:': {
    init: async () => (await import('./commands/init.ts')).registerInit,
    status: async () => (await import('./commands/status.ts')).registerStatus,
    copy: async () => (await import('./commands/copy.ts')).registerCopy,
    check: async () => (await import('./commands/check.ts')).registerCheck,
    repair: async () => (await import('./commands/repair.ts')).registerRepair,
    lock: async () => (await import('./commands/lock.ts')).registerLock,
    forget: async () => (await import('./commands/forget.ts')).registerForget,
    collect: async () => (await import('./commands/collect.ts')).registerCollect,
    key: async () => (await import('./commands/key.ts')).registerKey,
    storage: async () => (await import('./commands/storage.ts')).registerStorage,
  },
  'Hosts and machines:': {
    host: async () => (await import('./commands/host.ts')).registerHost,
    machine: async () => (await import('./commands/machine.ts')).registerMachine,
  },
  'Disk files:': {
    disk: async () => (await import('./commands/disk.ts')).registerDisk,
    datastore: async () => (await import('./commands/datastore.ts')).registerDatastore,
  },
  'Server:': {
    worker: async () => (await import('./commands/worker.ts')).registerWorker,
    server: async () => (await import('./commands/server.ts')).registerServer,
    self: async () => (await import('./commands/self.ts')).registerSelf,
    audit: async () => (await import('./commands/audit.ts')).registerAudit,
  },
  'Try it:': {
    demo: async () => (await import('./commands/demo.ts')).registerDemo,
  },
};

/**
 * The program for the arguments `argv`. A command that they run is named among them, so only the files of those that are
 * named are loaded; for help, and for a complaint about a command that is not there, all are.
 */
export async function buildProgram(cli: Cli, argv: readonly string[]): Promise<Command> {
  const program = new Command('prima')
    .description('Backs up running virtual machines and brings them back.')
    .version(manifest.version)
    .option('--repo <url>', "the repository; of a server's, its name (default: PRIMA_REPO)")
    .option('--passphrase-file <file>', 'read the passphrase from a file (default: PRIMA_PASSPHRASE, or ask)')
    .option('--key-file <file>', 'open the repository with a key file instead of a passphrase')
    .option('--recovery-file <file>', 'open it with the words of a recovery key (default: PRIMA_RECOVERY)')
    .option('--ask-recovery', 'ask for the words of a recovery key')
    .option('--home <folder>', "Prima's own state (default: PRIMA_HOME, or ~/.local/state/prima)")
    .option('--server <url>', 'let this server do it (default: PRIMA_SERVER); paths are of its files then')
    .option('--token-file <file>', 'what the server knows you by (default: PRIMA_TOKEN, the token itself)')
    .option('--server-ca <file>', 'the authority of its certificate, in PEM (default: PRIMA_SERVER_CA)')
    .option(
      '--server-fingerprint <digest>',
      'or the certificate itself: sha256:… (default: PRIMA_SERVER_FINGERPRINT)',
    )
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
  const isWanted = wantedOf(argv);
  for (const [heading, commands] of Object.entries(groups)) {
    program.commandsGroup(heading);
    for (const [name, load] of Object.entries(commands)) if (isWanted(name)) (await load())(program, cli);
  }
  program.commandsGroup('Help:').helpCommand('help [command]', 'show help for a command');
  return program;
}

function wantedOf(argv: readonly string[]): (name: string) => boolean {
  const isNamed = (name: string) => argv.includes(name);
  const all = Object.values(groups).flatMap((commands) => Object.keys(commands));
  if (['help', '--help', '-h'].some(isNamed) || !all.some(isNamed)) return () => true;
  return isNamed;
}
