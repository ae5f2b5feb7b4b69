/** Structured log events. Who listens decides where they go; nothing here prints. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LogEvent {
  level: LogLevel;
  /** A sentence for people. Never holds a secret. */
  message: string;
  /** Facts for machines. */
  fields?: Record<string, unknown>;
}

export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** A logger that hands each event to `sink`. */
export function createLogger(sink: (event: LogEvent) => void): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields?: Record<string, unknown>): void =>
      sink(fields === undefined ? { level, message } : { level, message, fields });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** Drops everything; for callers that have nobody to tell. */
export const silentLogger: Logger = createLogger(() => undefined);
