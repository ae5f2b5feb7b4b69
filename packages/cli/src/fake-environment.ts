/** For tests: an environment that keeps what is written and an application that answers as told. */
import type { CallOptions, PrimaApi } from '@prima/api';
import type { ServerOptions } from '@prima/api/client';
import { operations, parseRequest, type OperationName } from '@prima/api/schemas';
import type { Clock } from '@prima/base';
import type { ApplicationOptions, Environment, Output } from './environment.ts';
import { run } from './run.ts';

/** One call that reached the application; `request` is undefined for calls without one. */
export interface Call {
  method: string;
  request?: unknown;
}

/** Answers by method: a value, or a function of the request. */
export type Answers = Partial<{
  [Method in keyof PrimaApi]: (request: never, options: CallOptions) => unknown;
}>;

/** The time at which all tests happen. */
const testNow = Date.parse('2026-03-04T15:30:00Z');

export class FakeClock implements Clock {
  time = 0;
  now(): number {
    return testNow + this.time;
  }
  monotonic(): number {
    return this.time;
  }
  async sleep(ms: number): Promise<void> {
    this.time += ms;
  }
}

export class FakeOutput implements Output {
  text = '';
  readonly isTTY: boolean;
  columns: number;
  constructor(columns?: number) {
    this.isTTY = columns !== undefined;
    this.columns = columns ?? 80;
  }
  write(text: string): void {
    this.text += text;
  }
}

export interface FakeSetup {
  env?: Record<string, string>;
  answers?: Answers;
  /** What a server's resource of lines answers, by its path. */
  lines?: (path: string) => string[];
  /** Given: standard output and error are terminals this wide. */
  columns?: number;
  askSecret?: Environment['askSecret'];
}

/** What a run of the command line did. */
export interface FakeRun {
  status: number;
  stdout: string;
  stderr: string;
  calls: Call[];
  /** What the application was opened with. */
  opened?: ApplicationOptions;
  /** And the server. */
  connected?: ServerOptions;
  /** True when the application was closed as often as it was opened. */
  closed: boolean;
  exits: number[];
}

/** A started run: Ctrl-C can be pressed while it goes on. */
export interface RunningFake {
  interrupt(): void;
  clock: FakeClock;
  ended: Promise<FakeRun>;
}

export function startFake(argv: readonly string[], setup: FakeSetup = {}): RunningFake {
  const stdout = new FakeOutput(setup.columns);
  const stderr = new FakeOutput(setup.columns);
  const clock = new FakeClock();
  const calls: Call[] = [];
  const exits: number[] = [];
  const listeners = new Set<() => void>();
  let opened: ApplicationOptions | undefined;
  let connected: ServerOptions | undefined;
  let open = 0;
  const api = () => {
    open += 1;
    return fakeApi(calls, setup.answers ?? {}, () => {
      open -= 1;
    });
  };
  const environment: Environment = {
    stdout,
    stderr,
    env: setup.env ?? {
      PRIMA_REPO: 'file:///repo',
      PRIMA_PASSPHRASE: 'secret',
      PRIMA_TO_PASSPHRASE: 'other',
      HOME: '/home/ada',
    },
    clock,
    ...(setup.askSecret && { askSecret: setup.askSecret }),
    openApplication: async (options) => {
      opened = options;
      return api();
    },
    startServer: async () => {
      throw new Error('no test of the command line starts a server');
    },
    startWorker: async () => {
      throw new Error('no test of the command line starts a worker');
    },
    serverLines: async function* (options, path) {
      connected = options;
      yield* setup.lines?.(path) ?? [];
    },
    openServer: async (options) => {
      connected = options;
      return api();
    },
    onInterrupt: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    every: () => () => undefined,
    exit: (status) => exits.push(status),
  };
  const ended = run(argv, environment).then((status) => ({
    status,
    stdout: stdout.text,
    stderr: stderr.text,
    calls,
    exits,
    closed: open === 0,
    ...(opened && { opened }),
    ...(connected && { connected }),
  }));
  return { interrupt: () => listeners.forEach((listener) => listener()), clock, ended };
}

/** Runs the command line to its end. */
export function runFake(argv: readonly string[], setup: FakeSetup = {}): Promise<FakeRun> {
  return startFake(argv, setup).ended;
}

type AnyMethod = (...args: unknown[]) => Promise<unknown>;

function fakeApi(calls: Call[], answers: Answers, onClose: () => void): PrimaApi {
  const method =
    (name: string): AnyMethod =>
    async (...args) => {
      if (name === 'close') {
        onClose();
        return undefined;
      }
      const [request, options] = args.length > 1 ? args : [undefined, args[0]];
      const operation = name as OperationName;
      calls.push(request === undefined ? { method: name } : { method: name, request });
      parseRequest(operation, request ?? {});
      const answer = answers[operation];
      if (answer === undefined) throw new Error(`the test has no answer for ${name}`);
      const answered: unknown = await answer(request as never, options as CallOptions);
      const { result, media } = operations[operation];
      result.parse(media === undefined ? JSON.parse(JSON.stringify(answered ?? null)) : answered);
      return answered;
    };
  // Promises ask for `then`; the application is not one.
  const get = (_: object, name: string) => (name === 'then' ? undefined : method(name));
  return new Proxy({}, { get }) as PrimaApi;
}
