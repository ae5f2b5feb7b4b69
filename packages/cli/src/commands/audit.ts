/** `prima audit export`: a server's audit log as JSON lines. See docs/operating/audit.md. */
import { PrimaError, UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { serverOptions, serverUrl } from '../server-options.ts';

interface ExportFlags {
  from?: string;
  to?: string;
}

export function registerAudit(program: Command, cli: Cli): void {
  program
    .command('audit')
    .description("a server's audit log")
    .command('export')
    .description('print it as JSON lines, oldest first, such that others can verify its chain')
    .option('--from <time>', 'the first time that is in it: 2026-01-31, or ISO 8601 (default: the beginning)')
    .option('--to <time>', 'the first time that is not (default: all there is)')
    .action(
      cli.action({}, async (invocation, { from, to }: ExportFlags) => {
        const query = new URLSearchParams();
        if (from !== undefined) query.set('from', timeOf('--from', from));
        if (to !== undefined) query.set('to', timeOf('--to', to));
        await printLines(invocation, `/api/v1/audit/export${query.size > 0 ? `?${query.toString()}` : ''}`);
      }),
    );
}

/** UTC, where no zone is said. */
function timeOf(option: string, text: string): string {
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/.test(text);
  const time = isDay || isTime ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw new UserError('usage', `${option} ${text} is no time; write 2026-01-31 or 2026-01-31T13:00Z`);
}

async function printLines(invocation: Invocation, path: string): Promise<void> {
  const { environment, globals, name } = invocation;
  const url = serverUrl(globals, environment);
  if (url === undefined)
    throw new UserError('usage', `prima ${name} asks a server: give --server URL or set PRIMA_SERVER`);
  const stopper = new AbortController();
  const release = environment.onInterrupt(() => stopper.abort(new PrimaError('cancelled', 'cancelled')));
  try {
    const options = await serverOptions(url, globals, {
      environment,
      warn: (message) => invocation.warn(message),
    });
    for await (const line of environment.serverLines(options, path, stopper.signal))
      environment.stdout.write(`${line}\n`);
  } finally {
    release();
  }
}
