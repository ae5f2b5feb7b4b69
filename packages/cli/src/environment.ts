/** Everything outside of the command line that it touches; tests bring their own. */
import type { PrimaApi } from '@prima/api';
import type { ServerOptions } from '@prima/api/client';
import type { Clock, Logger, PrimaError } from '@prima/base';

/** A stream that text goes to. */
export interface Output {
  write(text: string): void;
  readonly isTTY: boolean;
  /** The terminal's width now; meaningless elsewhere. */
  readonly columns: number;
}

/** What opens a repository. Never printed, never in an argument list. */
export type Secret =
  | { kind: 'passphrase'; text: string }
  | { kind: 'keyfile'; bytes: Uint8Array }
  | { kind: 'recovery'; words: string };

/** What the application needs to start. */
export interface ApplicationOptions {
  /** The folder of Prima's own state. */
  home: string;
  repository?: string;
  /** Bytes of the repository's store a second, and bytes that what was read of a remote one may take here. */
  store?: { upload?: number; download?: number; cacheBytes?: number };
  /** Called only when a repository is really opened. */
  secret?: () => Promise<Secret>;
  /** The first operation needs the repository: it may be opened at once. */
  opensRepository?: boolean;
  /** And it moves a lot of data. */
  movesChunks?: boolean;
}

/** How a server is to run. */
export interface ServeOptions {
  home: string;
  /** `HOST:PORT` */
  listen: string;
  database?: string;
  tls?: { cert: string; key: string };
  plain?: boolean;
  /** The folder with the panel's files. */
  panel?: string;
  atOnce?: number;
  /** Its own address, as browsers have it. */
  publicUrl?: string;
  logger: Logger;
}

/** A server that runs. */
export interface Served {
  url: string;
  fingerprint?: string;
  /** While nobody has an account: where the first one is made. */
  firstLink?: string;
  close(): Promise<void>;
}

/** How a worker is to run. */
export interface WorkOptions {
  home: string;
  server: ServerOptions;
  name?: string;
  version: string;
  atOnce?: number;
  logger: Logger;
}

/** A worker that runs. */
export interface Working {
  name: string;
  hosts: readonly string[];
  /** Resolves when the server wants nothing of it any more. */
  refused: Promise<PrimaError>;
  close(): Promise<void>;
}

export interface Environment {
  stdout: Output;
  stderr: Output;
  /** The process's environment variables, as they were at the start. */
  env: Readonly<Partial<Record<string, string>>>;
  clock: Clock;
  /** Asks on the terminal without echo; undefined where there is no terminal. */
  askSecret?: (prompt: string, signal?: AbortSignal) => Promise<string>;
  openApplication(options: ApplicationOptions): Promise<PrimaApi>;
  /** The same operations, done by a server elsewhere. */
  openServer(options: ServerOptions): Promise<PrimaApi>;
  /** A resource of it that is lines of text. */
  serverLines(options: ServerOptions, path: string, signal: AbortSignal): AsyncIterable<string>;
  startServer(options: ServeOptions): Promise<Served>;
  startWorker(options: WorkOptions): Promise<Working>;
  /** Calls `listener` at every Ctrl-C or request to end, until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** Calls `task` every `ms` without keeping the process alive, until the returned function is called. */
  every(ms: number, task: () => void): () => void;
  /** Ends the process at once. */
  exit(status: number): void;
}
