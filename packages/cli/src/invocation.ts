/** One run of one command: its options, its calls into the application, and what it prints. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import type { CallOptions, JobEvent, PrimaApi, SecretSource } from '@prima/api';
import { type Logger, PrimaError, throwIfAborted, toPrimaError, UserError } from '@prima/base';
import type { Environment, Secret, Served, ServeOptions, Working, WorkOptions } from './environment.ts';
import type { GlobalOptions } from './global-options.ts';
import { cancelledStatus, type Lasting, type LastingOptions, runLasting } from './lasting.ts';
import { readRecoveryKey, readSecret } from './secret.ts';
import { serverOptions, serverUrl } from './server-options.ts';
import { ProgressView } from './terminal/progress.ts';
import { type Page, type Paint, painter, wantsColour } from './terminal/style.ts';
import { printable } from './terminal/width.ts';

/** What kind of command it is. */
export interface CommandTraits {
  /** Cannot work without a repository. */
  repository?: boolean;
  /** A new secret is chosen: ask twice. */
  newSecret?: boolean;
  /** `--limit-upload` goes with the request to a server. */
  limitsStoring?: boolean;
  /** Moves a lot of data from or to the repository. */
  movesChunks?: boolean;
}

export interface CallSettings {
  /** Said at the first Ctrl-C, which then does nothing else: ending has a price. The second cancels, the third leaves. */
  firstInterrupt?: string;
  /** Said at the Ctrl-C that cancels. */
  onInterrupt?: string;
  /** Takes log events instead of standard error: the story of a demonstration. */
  story?: (message: string) => void;
}

/** Options that say nothing to a server, and those that are for one alone. */
const inProcessOnly = [
  ['passphraseFile', '--passphrase-file'],
  ['keyFile', '--key-file'],
  ['recoveryFile', '--recovery-file'],
  ['askRecovery', '--ask-recovery'],
  ['home', '--home'],
  ['limitUpload', '--limit-upload'],
  ['limitDownload', '--limit-download'],
  ['cacheSize', '--cache-size'],
] as const;
const serverOnly = [
  ['tokenFile', '--token-file'],
  ['serverCa', '--server-ca'],
  ['serverFingerprint', '--server-fingerprint'],
] as const;

const redrawMs = 500;
const jsonProgressMs = 100;

export class Invocation {
  /** The command's full name without `prima`: `machine start`. */
  readonly name: string;
  readonly globals: GlobalOptions;
  readonly environment: Environment;
  /** What the process will end with when nothing is raised. */
  exitStatus = 0;
  readonly #traits: CommandTraits;
  readonly #view: ProgressView;
  readonly #errorPaint: Paint;

  constructor(
    about: { name: string; globals: GlobalOptions; traits: CommandTraits },
    environment: Environment,
  ) {
    const { stderr, env, clock } = environment;
    this.name = about.name;
    this.globals = about.globals;
    this.environment = environment;
    this.#traits = about.traits;
    this.#errorPaint = painter(wantsColour(stderr.isTTY, env));
    const live = stderr.isTTY && env['TERM'] !== 'dumb';
    this.#view = new ProgressView({ stream: stderr, clock, live, paint: this.#errorPaint });
  }

  get json(): boolean {
    return this.globals.json === true;
  }

  /** The work is done by a server. */
  get usesServer(): boolean {
    return this.#server !== undefined;
  }

  /** Of a server's work, in its request: in process the repository's store itself is held to it. */
  get storeLimit(): number | undefined {
    return this.usesServer ? this.globals.limitUpload : undefined;
  }

  /** Where human output goes: standard output. */
  get page(): Page {
    const { stdout, env, clock } = this.environment;
    return {
      width: stdout.isTTY ? stdout.columns : Infinity,
      paint: painter(wantsColour(stdout.isTTY, env)),
      now: clock.now(),
    };
  }

  /**
   * Runs `work` on the application and closes it afterwards. Ctrl-C aborts the signal and waits;
   * what is raised then is `cancelled`. A second Ctrl-C ends the process.
   */
  async call<T>(
    work: (api: PrimaApi, options: CallOptions & { signal: AbortSignal }) => Promise<T>,
    settings: CallSettings = {},
  ): Promise<T> {
    if (this.#traits.repository && this.#repository === undefined) {
      const how =
        this.#server === undefined
          ? 'give --repo URL or set PRIMA_REPO'
          : 'give --repo NAME, as the server knows it';
      throw new UserError('usage', `prima ${this.name} needs a repository: ${how}`);
    }
    const stopper = new AbortController();
    const { signal } = stopper;
    let isWarned = settings.firstInterrupt === undefined;
    const release = this.environment.onInterrupt(() => {
      if (isWarned) this.#interrupted(stopper, settings);
      else this.#view.message(`prima: ${settings.firstInterrupt}`);
      isWarned = true;
    });
    const stopTicking = this.environment.every(redrawMs, () => this.#view.tick());
    try {
      const api = await this.#open(signal);
      return await closing(api, async () => {
        throwIfAborted(signal, `running prima ${this.name}`);
        return await work(api, { signal, onEvent: this.#events(settings) });
      });
    } catch (error) {
      const failure = toPrimaError(error, `running prima ${this.name}`);
      if (!signal.aborted || failure.code === 'cancelled') throw failure;
      throw new PrimaError('cancelled', `cancelled, but cleaning up met an error: ${failure.message}`, {
        cause: failure,
        details: { code: failure.code, ...failure.details },
      });
    } finally {
      stopTicking();
      release();
      this.#view.close();
    }
  }

  /** Runs the server until it is asked to end; a second time leaves at once. */
  async serve(
    options: Omit<ServeOptions, 'home' | 'logger'>,
    { format, started }: LastingOptions<Served>,
  ): Promise<void> {
    await this.#last((logger) => this.environment.startServer({ ...options, home: this.home, logger }), {
      format,
      started,
    });
  }

  /** The same for a worker of the server that the command line names. */
  async workFor(
    options: Omit<WorkOptions, 'home' | 'logger' | 'server'>,
    { format, started }: LastingOptions<Working>,
  ): Promise<void> {
    const url = this.#server;
    if (url === undefined) throw new UserError('usage', 'a worker works for a server: give --server URL');
    const { environment } = this;
    const warn = (message: string) => this.warn(message);
    const server = await serverOptions(url, this.globals, { environment, warn });
    await this.#last((logger) => environment.startWorker({ ...options, server, home: this.home, logger }), {
      format,
      started,
    });
  }

  async #last<T extends Lasting>(
    start: (logger: Logger) => Promise<T>,
    options: LastingOptions<T>,
  ): Promise<void> {
    try {
      await runLasting(this.environment, start, { ...options, verbose: this.globals.verbose === true });
    } finally {
      this.#view.close();
    }
  }

  /** Ends the output: the value for `--json`, the text for people. */
  result(value: unknown, human: (page: Page) => string): void {
    if (this.json) this.#jsonLine({ type: 'result', command: this.name, result: value });
    else this.print(human(this.page));
  }

  /** Shows a recovery key before the command's end: what comes after may fail, and the words are nowhere else. */
  recoveryKey(repository: string, words: readonly string[], sheet: string): void {
    if (this.json) this.#jsonLine({ type: 'recovery', repository, words });
    else this.print(`\n${sheet}\n`);
  }

  /** A line (or lines) of human output. */
  print(text: string): void {
    this.#view.clear();
    if (text !== '') this.environment.stdout.write(`${text}\n`);
  }

  /** A remark on standard error; nothing in JSON mode but a log line. */
  warn(message: string): void {
    this.#log({ type: 'log', level: 'warn', message });
  }

  /** A failure that does not end the command, on standard error (in JSON it is part of the result). */
  fault(message: string): void {
    if (!this.json) this.#view.message(`${this.#errorPaint('red', 'prima:')} ${printable(message, '\n')}`);
  }

  /** A file, folder or device that the work is done with. Of a server's only the whole path says which. */
  path(text: string): string {
    if (!this.usesServer) return resolve(text);
    if (isAbsolute(text)) return text;
    throw new UserError('usage', `${text} would be a file of the server; write its whole path there`);
  }

  /** A secret that goes with a request. The server reads no files of ours: a key file's content goes there. */
  sourceOf(secret: Secret, keyFile = ''): SecretSource {
    if (secret.kind !== 'keyfile') return secret;
    if (!this.usesServer) return { kind: 'keyfile', path: resolve(keyFile) };
    return { kind: 'keyfile-content', base64: Buffer.from(secret.bytes).toString('base64') };
  }

  /** Reads the secret that this command line names, or asks for it. */
  async secret(signal?: AbortSignal): Promise<Secret> {
    const { passphraseFile, keyFile } = this.globals;
    const recovery = await this.#recoveryKey(signal);
    if (recovery !== undefined) return { kind: 'recovery', words: recovery };
    return readSecret(
      {
        what: 'passphrase',
        variable: 'PRIMA_PASSPHRASE',
        options: { passphraseFile: '--passphrase-file', keyFile: '--key-file' },
        confirm: this.#traits.newSecret === true,
        warn: (message) => this.warn(message),
        ...(passphraseFile !== undefined && { passphraseFile }),
        ...(keyFile !== undefined && { keyFile }),
        ...(signal && { signal }),
      },
      this.environment,
    );
  }

  /** The words of a recovery key, where this command line says that one opens the repository. */
  async #recoveryKey(signal?: AbortSignal): Promise<string | undefined> {
    const { passphraseFile, keyFile, recoveryFile, askRecovery } = this.globals;
    const ways = [passphraseFile, keyFile, recoveryFile, askRecovery].filter((way) => way !== undefined);
    if (ways.length > 1) {
      throw new UserError(
        'usage',
        'give only one of --passphrase-file, --key-file, --recovery-file and --ask-recovery',
      );
    }
    const words = await readRecoveryKey(
      {
        warn: (message) => this.warn(message),
        fromEnvironment: ways.length === 0 && this.#traits.newSecret !== true,
        ...(recoveryFile !== undefined && { file: recoveryFile }),
        ...(askRecovery && { ask: true }),
        ...(signal && { signal }),
      },
      this.environment,
    );
    if (words === undefined || this.#traits.newSecret !== true) return words;
    throw new UserError(
      'usage',
      'a new repository gets a passphrase or a key file; --recovery makes a recovery key besides',
    );
  }

  get #repository(): string | undefined {
    return this.globals.repo ?? (this.environment.env['PRIMA_REPO'] || undefined);
  }

  get #server(): string | undefined {
    return serverUrl(this.globals, this.environment);
  }

  /** The folder of Prima's own state. */
  get home(): string {
    const { env } = this.environment;
    const state = env['XDG_STATE_HOME'] || join(env['HOME'] || homedir(), '.local', 'state');
    return this.globals.home ?? (env['PRIMA_HOME'] || join(state, 'prima'));
  }

  async #open(signal: AbortSignal): Promise<PrimaApi> {
    const repository = this.#repository;
    const server = this.#server;
    if (server !== undefined) return await this.#openServer(server, repository);
    const pointless = serverOnly.find(([key]) => this.globals[key] !== undefined);
    if (pointless) throw new UserError('usage', `${pointless[1]} is for a server: give --server URL, too`);
    const { limitUpload: upload, limitDownload: download, cacheSize: cacheBytes } = this.globals;
    return await this.environment.openApplication({
      home: this.home,
      store: { upload, download, cacheBytes },
      secret: () => {
        this.#view.clear();
        return this.secret(signal);
      },
      ...(repository !== undefined && { repository }),
      opensRepository: this.#traits.repository === true && this.#traits.newSecret !== true,
      movesChunks: this.#traits.movesChunks === true,
    });
  }

  async #openServer(url: string, repository: string | undefined): Promise<PrimaApi> {
    const { limitsStoring = false } = this.#traits;
    const pointless = inProcessOnly.find(
      ([key]) => this.globals[key] !== undefined && !(limitsStoring && key === 'limitUpload'),
    );
    if (pointless) {
      throw new UserError('usage', `${pointless[1]} is not for work that a server does: it has its own`);
    }
    const environment = this.environment;
    const warn = (message: string) => this.warn(message);
    const options = await serverOptions(url, this.globals, { environment, warn });
    return await environment.openServer({ ...options, ...(repository !== undefined && { repository }) });
  }

  #interrupted(stopper: AbortController, settings: CallSettings): void {
    if (stopper.signal.aborted) {
      this.#view.message(
        this.usesServer
          ? 'prima: left; the server was asked to end the job and cleans up by itself'
          : 'prima: left without cleaning up; the next prima with the same --home and --repo removes what is left ' +
              '(the unfinished restore point, snapshots, temporary files)',
      );
      this.environment.exit(cancelledStatus);
      return;
    }
    this.#view.message(
      `prima: ${settings.onInterrupt ?? 'cancelling, cleaning up… (Ctrl-C again: leave at once)'}`,
    );
    stopper.abort(new PrimaError('cancelled', 'cancelled'));
  }

  /** Where events go: lines of JSON, or the progress view and log lines. */
  #events(settings: CallSettings): (event: JobEvent) => void {
    let last = { time: -Infinity, subject: '' };
    return (event) => {
      if (event.type === 'log') {
        if (settings.story && event.level === 'info' && !this.json) settings.story(event.message);
        else this.#log(event);
        return;
      }
      if (this.globals.quiet) return;
      if (!this.json) {
        this.#view.update(event);
        return;
      }
      const time = this.environment.clock.monotonic();
      const ended = event.total !== undefined && event.done >= event.total;
      if (!ended && event.subject === last.subject && time - last.time < jsonProgressMs) return;
      last = { time, subject: event.subject };
      this.#jsonLine(event);
    };
  }

  #log(event: Extract<JobEvent, { type: 'log' }>): void {
    const { level, message } = event;
    if (level === 'debug' && !this.globals.verbose) return;
    if (this.globals.quiet && (level === 'debug' || level === 'info')) return;
    if (this.json) {
      if (!this.globals.quiet) this.#jsonLine(event);
      return;
    }
    const text = printable(message, '\n');
    const paint = this.#errorPaint;
    if (level === 'warn') this.#view.message(`prima: ${paint('yellow', 'warning:')} ${text}`);
    else if (level === 'error') this.#view.message(`prima: ${paint('red', 'error:')} ${text}`);
    else this.#view.message(paint('dim', `prima: ${text}`));
  }

  #jsonLine(value: unknown): void {
    this.environment.stdout.write(`${JSON.stringify(value)}\n`);
  }
}

/** Runs `work` and closes `api` on every path; a failure of the work is not hidden by one of closing. */
async function closing<T>(api: PrimaApi, work: () => Promise<T>): Promise<T> {
  let failed = true;
  try {
    const result = await work();
    failed = false;
    return result;
  } finally {
    const closed = api.close();
    if (failed) await Promise.allSettled([closed]);
    else await closed;
  }
}
