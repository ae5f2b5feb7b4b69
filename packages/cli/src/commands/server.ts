/** `prima server`: the panel and the API, until it is asked to end. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Served } from '../environment.ts';
import { parseCount } from '../options.ts';
import { type LogFormat, logFormatOption } from '../terminal/log-format.ts';
import { facts } from '../terminal/table.ts';

interface ServerFlags {
  listen: string;
  database?: string;
  tlsCert?: string;
  tlsKey?: string;
  plainHttp?: boolean;
  panel?: string;
  jobs?: number;
  publicUrl?: string;
  logFormat?: LogFormat;
}

const builtPanel = join(import.meta.dirname, '../../../panel/dist');

export function registerServer(program: Command, cli: Cli): void {
  program
    .command('server')
    .description('serve the panel and the API, run policies and jobs')
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:8750')
    .option('--database <url>', 'postgres://USER@HOST/NAME, or a file (default: server.sqlite in --home)')
    .option('--tls-cert <file>', "the certificate, PEM (default: one of the server's own making)")
    .option('--tls-key <file>', 'its key, PEM')
    .option('--plain-http', 'no TLS; on loopback only')
    .option('--panel <folder>', "the panel's files (default: those that npm start builds)")
    .option('--public-url <url>', 'its own address as browsers have it, for sign-in through a provider')
    .option('--jobs <number>', 'jobs at the same time (4)', parseCount)
    .addOption(logFormatOption())
    .action(
      cli.action({}, async (invocation, flags: ServerFlags) => {
        const { listen, database, tlsCert: cert, tlsKey: key, plainHttp, jobs, publicUrl } = flags;
        if ((cert === undefined) !== (key === undefined))
          throw new UserError('usage', 'give --tls-cert and --tls-key, or neither');
        const panel = flags.panel ?? (existsSync(join(builtPanel, 'index.html')) ? builtPanel : undefined);
        await invocation.serve(
          {
            listen,
            ...(database === undefined ? {} : { database }),
            ...(cert !== undefined && key !== undefined ? { tls: { cert, key } } : {}),
            ...(plainHttp ? { plain: true } : {}),
            ...(panel === undefined ? {} : { panel }),
            ...(publicUrl === undefined ? {} : { publicUrl }),
            ...(jobs === undefined ? {} : { atOnce: jobs }),
          },
          {
            format: flags.logFormat,
            started: ({ url, fingerprint, firstLink }: Served) => {
              const told = { url, ...(fingerprint && { fingerprint }), ...(firstLink && { firstLink }) };
              invocation.result(told, (page) =>
                facts(
                  [
                    [
                      'Serving',
                      panel === undefined ? `${url} (without the panel: npm start builds it)` : url,
                    ],
                    ...(fingerprint ? [['Certificate', fingerprint] as [string, string]] : []),
                    ...(firstLink
                      ? [['First account', `${firstLink} (works once)`] as [string, string]]
                      : []),
                  ],
                  page,
                ),
              );
            },
          },
        );
      }),
    );
}
