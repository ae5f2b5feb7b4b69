/** What a process that runs for long tells on standard error: a line a message, for people at a terminal or for what collects logs. */
import { type Clock, createLogger, type Logger, type LogLevel } from '@prima/base';
import { pino, stdTimeFunctions } from 'pino';
import type { Output } from '../environment.ts';
import type { LogFormat } from './log-format.ts';
import { printable } from './width.ts';

export interface ServerLogOptions {
  /** Default: `text` at a terminal, else `json`. */
  format?: LogFormat | undefined;
  /** `debug`, too. */
  verbose: boolean;
  clock: Pick<Clock, 'now'>;
}

const widest = 5;

export function serverLogger(out: Output, { format, verbose, clock }: ServerLogOptions): Logger {
  const least: LogLevel = verbose ? 'debug' : 'info';
  if ((format ?? (out.isTTY ? 'text' : 'json')) === 'json') return jsonLogger(out, least);
  return createLogger(({ level, message }) => {
    if (level === 'debug' && least !== 'debug') return;
    const time = new Date(clock.now()).toISOString();
    out.write(`${time} ${level.padEnd(widest)} ${printable(message.replaceAll('\n', ' '))}\n`);
  });
}

/** No message holds a secret; should a field do, it is not written. */
const redact = ['passphrase', 'password', 'secret', 'token'].flatMap((name) => [
  name,
  `*.${name}`,
  `*.*.${name}`,
]);

function jsonLogger(out: Output, level: LogLevel): Logger {
  const log = pino(
    {
      level,
      base: null,
      messageKey: 'message',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact,
    },
    { write: (line: string) => out.write(line) },
  );
  return createLogger(({ level: at, message, fields }) => log[at](fields ?? {}, message));
}
