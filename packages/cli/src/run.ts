/** Runs one command line from its arguments to its exit status. */
import { errorCodes, type PrimaError, toPrimaError, UserError } from '@prima/base';
import { type Command, CommanderError } from 'commander';
import { Cli, nameOf } from './cli.ts';
import type { Environment, Output } from './environment.ts';
import { buildProgram } from './program.ts';
import { painter, wantsColour } from './terminal/style.ts';
import { printable } from './terminal/width.ts';

const defaultHelpColumns = 100;

/** `argv` is without the program's name. Never raises; the status is that of docs/errors.md. */
export async function run(argv: readonly string[], environment: Environment): Promise<number> {
  const cli = new Cli(environment);
  const program = await buildProgram(cli, argv);
  const asked = { command: program };
  prepare(program, environment, asked);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return cli.exitStatus;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // help or version, as asked
    if (error instanceof CommanderError && error.code === 'commander.help') return errorCodes.usage.exit;
    const failure =
      error instanceof CommanderError
        ? usageError(error, asked.command)
        : toPrimaError(error, 'running prima');
    report(failure, flagsOf(argv), environment);
    return failure.exitStatus;
  }
}

/** Makes the parser raise instead of printing and exiting, and write where we say. */
function prepare(command: Command, environment: Environment, asked: { command: Command }): void {
  const { stdout, stderr } = environment;
  const columns = (stream: Output) => (stream.isTTY ? stream.columns : defaultHelpColumns);
  command.exitOverride((error) => {
    asked.command = command;
    throw error;
  });
  command.configureOutput({
    writeOut: (text) => stdout.write(text),
    writeErr: (text) => stderr.write(text),
    outputError: () => undefined,
    getOutHelpWidth: () => columns(stdout),
    getErrHelpWidth: () => columns(stderr),
    getOutHasColors: () => wantsColour(stdout.isTTY, environment.env),
    getErrHasColors: () => wantsColour(stderr.isTTY, environment.env),
  });
  for (const inner of command.commands) prepare(inner, environment, asked);
}

/** The parser's complaint in our words, with where to look. */
function usageError(error: CommanderError, command: Command): PrimaError {
  const complaint = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  const name = command.parent ? `prima ${nameOf(command)}` : 'prima';
  return new UserError('usage', `${complaint}\ntry: ${name} --help`, { cause: error });
}

interface Flags {
  json: boolean;
  verbose: boolean;
}

/** Read without the parser, which may be what failed. */
function flagsOf(argv: readonly string[]): Flags {
  const end = argv.indexOf('--');
  const options = end < 0 ? argv : argv.slice(0, end);
  return { json: options.includes('--json'), verbose: options.includes('--verbose') };
}

function report(error: PrimaError, flags: Flags, { stdout, stderr, env }: Environment): void {
  const { code, message, exitStatus, details } = error;
  if (flags.json) {
    stdout.write(`${JSON.stringify({ type: 'error', error: { code, message, exitStatus, details } })}\n`);
    return;
  }
  const paint = painter(wantsColour(stderr.isTTY, env));
  stderr.write(`${paint('red', 'prima:')} ${printable(message, '\n')}\n`);
  if (flags.verbose && Object.keys(details).length > 0) stderr.write(`${JSON.stringify(details)}\n`);
  if (code !== 'internal') return;
  stderr.write('prima: this is a mistake in Prima; please report it with what --verbose prints\n');
  if (flags.verbose) stderr.write(`${traceOf(error)}\n`);
}

/** The stacks of an error and its causes. */
function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.stack ?? error.message;
  return error.cause === undefined ? own : `${own}\ncaused by: ${traceOf(error.cause)}`;
}
