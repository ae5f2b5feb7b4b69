/** `prima export`: serves a point's disks over NBD until it is told to stop. */
import type { ExportHandle, ExportRequest } from '@prima/api';
import { UserError } from '@prima/base';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import type { Page } from '../terminal/style.ts';
import { printable } from '../terminal/width.ts';

interface ExportOptions {
  disk?: string;
  socket?: string;
  listen?: string;
  writable?: boolean;
  allowDamaged?: boolean;
}

export function registerExport(program: Command, cli: Cli): void {
  program
    .command('export')
    .description("serve a point's disks over NBD until Ctrl-C")
    .argument('<point>', 'id or its beginning, latest, MACHINE@latest or MACHINE@TIME')
    .option('--disk <disk>', 'only this disk, by its number or name')
    .option('--socket <path>', 'on a unix socket')
    .option('--listen <addr:port>', 'on a TCP port')
    .option('--writable', 'let clients write; what they write is dropped at the end')
    .option('--allow-damaged', 'serve zeros where the repository cannot be read, instead of an I/O error')
    .action(
      cli.action({ repository: true }, async (invocation, point: string, options: ExportOptions) => {
        const request = requestOf(invocation, point, options);
        await invocation.call(
          async (api, call) => {
            const handle = await api.export(request, call);
            try {
              invocation.result({ uris: handle.uris }, (page) => rendered(handle, options, page));
              await aborted(call.signal);
            } finally {
              await handle.stop();
            }
          },
          { onInterrupt: 'stopping the export…' },
        );
      }),
    );
}

function requestOf(
  invocation: Invocation,
  point: string,
  { disk, socket, listen, writable, allowDamaged }: ExportOptions,
): ExportRequest {
  if ((socket === undefined) === (listen === undefined)) {
    throw new UserError('usage', 'say where to serve: --socket PATH or --listen ADDR:PORT (one of them)');
  }
  return {
    point,
    ...(disk !== undefined && { disk }),
    ...(socket !== undefined && { socket: invocation.path(socket) }),
    ...(listen !== undefined && { listen }),
    ...(writable && { writable }),
    ...(allowDamaged && { allowDamaged }),
  };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
}

function rendered({ uris }: ExportHandle, { writable }: ExportOptions, page: Page): string {
  const first = uris[0];
  const example =
    first && `qemu-img convert -O qcow2 '${printable(first.uri)}' '${fileName(first.disk)}.qcow2'`;
  return [
    ...uris.map(({ disk, uri }) => `${page.paint('bold', printable(disk))}  ${printable(uri)}`),
    ...(example ? ['', `For example: ${example}`] : []),
    writable ? 'Clients may write; what they write is dropped when this ends.' : 'Read-only.',
    'Serving until Ctrl-C.',
  ].join('\n');
}

/** A disk's name as a file name that needs no quoting. */
function fileName(disk: string): string {
  return disk.replace(/[^\w.-]+/g, '-');
}
