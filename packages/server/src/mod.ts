/** The application object: every operation, behind the api's contract. */
export { type ApplicationOptions, createApplication } from './application.ts';
export type { RunningServer, ServerOptions } from './http/serve.ts';
export type { RunningWorker, WorkerOptions } from './worker/worker.ts';
import type { RunningWorker, WorkerOptions } from './worker/worker.ts';
import type { RunningServer, ServerOptions } from './http/serve.ts';

/** Starts the server. Its modules are loaded only then. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const serving = await import('./http/serve.ts');
  return serving.startServer(options);
}

/** Starts a worker. Its modules are loaded only then. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const working = await import('./worker/worker.ts');
  return working.startWorker(options);
}
