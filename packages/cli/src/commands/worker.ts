/** `prima worker`: does jobs at its own hosts for a server, until it is asked to end. */
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { parseCount } from '../options.ts';
import { type LogFormat, logFormatOption } from '../terminal/log-format.ts';
import { facts } from '../terminal/table.ts';

interface WorkerFlags {
  name?: string;
  jobs?: number;
  logFormat?: LogFormat;
}

export function registerWorker(program: Command, cli: Cli): void {
  program
    .command('worker')
    .description("do jobs at this home folder's hosts for a server")
    .option('--name <name>', "what the server calls it (default: the computer's name)")
    .option('--jobs <number>', 'jobs at the same time (4)', parseCount)
    .addOption(logFormatOption())
    .action(
      cli.action({}, async (invocation, { name, jobs, logFormat }: WorkerFlags) => {
        await invocation.workFor(
          {
            version: program.version() ?? '',
            ...(name === undefined ? {} : { name }),
            ...(jobs === undefined ? {} : { atOnce: jobs }),
          },
          {
            format: logFormat,
            started: (worker) => {
              const told = { name: worker.name, hosts: worker.hosts };
              invocation.result(told, (page) =>
                facts(
                  [
                    ['Working as', worker.name],
                    ['Hosts', worker.hosts.join(', ') || 'none yet: add one with prima host add'],
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
