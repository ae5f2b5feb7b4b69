/** Which server a command line means, and what it is allowed and trusted by. See docs/operating/cli.md, "A server". */
import { readFile } from 'node:fs/promises';
import type { ServerOptions } from '@prima/api/client';
import { toPrimaError, UserError } from '@prima/base';
import type { Environment } from './environment.ts';
import { readTokenFile } from './secret.ts';

/** What the command line says. */
export interface ServerChoice {
  server?: string;
  tokenFile?: string;
  serverCa?: string;
  serverFingerprint?: string;
}

/** The server's address, or undefined where the work is done in this process. */
export function serverUrl({ server }: ServerChoice, { env }: Environment): string | undefined {
  return server ?? (env['PRIMA_SERVER'] || undefined);
}

/** Raises `usage` where the token is missing, and what reading files raises. */
export async function serverOptions(
  url: string,
  choice: ServerChoice,
  { environment, warn }: { environment: Environment; warn: (message: string) => void },
): Promise<ServerOptions> {
  const { env } = environment;
  const { tokenFile } = choice;
  const token = tokenFile === undefined ? env['PRIMA_TOKEN'] : await readTokenFile(tokenFile, warn);
  if (!token) {
    throw new UserError('usage', 'a server wants a token: give --token-file FILE or set PRIMA_TOKEN');
  }
  // What the command line says of the server's certificate goes before what the environment says.
  const isSaid = choice.serverCa !== undefined || choice.serverFingerprint !== undefined;
  const caFile = isSaid ? choice.serverCa : env['PRIMA_SERVER_CA'] || undefined;
  const fingerprint = isSaid ? choice.serverFingerprint : env['PRIMA_SERVER_FINGERPRINT'] || undefined;
  return {
    url,
    token,
    ...(caFile !== undefined && { ca: await certificates(caFile) }),
    ...(fingerprint !== undefined && { fingerprint }),
  };
}

async function certificates(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw toPrimaError(error, `reading the authority of the server in ${path}`);
  }
}
