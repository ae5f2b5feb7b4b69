/** The application object: every operation, behind the api's contract. */
export { type ApplicationOptions, createApplication } from './application.ts';
export type { RunningServer, ServerOptions } from './http/serve.ts';
import type { RunningServer, ServerOptions } from './http/serve.ts';

/** Starts the server. Its modules are loaded only then. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const serving = await import('./http/serve.ts');
  return serving.startServer(options);
}
