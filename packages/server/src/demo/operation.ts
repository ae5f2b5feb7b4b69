/** The demonstration as an operation: a private world for it, and nothing left of it afterwards. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DemoResult, JobEvent, PrimaApi } from '@prima/api';
import { createLogger, KiB, MiB, runProgram, throwIfAborted } from '@prima/base';
import { buildTinyGuest, ensureDebianPackages, packagesFor, type TinyGuest } from '@prima/testbed';
import type { Call, Context } from '../context.ts';
import { demoHost, runDemo } from './demo.ts';
import { demoFolder, hostFolder, removeDemoFolder } from './folder.ts';
import { Story } from './story.ts';

/** Opens the application that the demonstration works with; the caller's own is left alone. */
type OpenApplication = (home: string, repository: string, secret: string) => Promise<PrimaApi>;

export function demoOperations(context: Context, open: OpenApplication): Pick<PrimaApi, 'demo'> {
  return {
    demo: (request, options) =>
      context.run(options, (call) => demo({ context, request, call, open, onEvent: options?.onEvent })),
  };
}

interface Demo {
  context: Context;
  request: { folder?: string; keep?: boolean };
  call: Call;
  open: OpenApplication;
  onEvent: ((event: JobEvent) => void) | undefined;
}

async function demo({ context, request, call, open, onEvent }: Demo): Promise<DemoResult> {
  const { signal, logger } = call;
  const story = new Story(logger);
  const journal = await context.recover(logger);
  const folder = demoFolder(request.folder);
  const entry = await journal.begin('the demonstration', [{ kind: 'private-host', folder }]);
  let api: PrimaApi | undefined;
  try {
    const guest = await prepare(story, call);
    const paths = { host: hostFolder(folder), root: join(folder, 'root.qcow2') };
    await mkdir(paths.host, { recursive: true, mode: 0o700 });
    api = await open(join(folder, 'home'), join(folder, 'repository'), randomBytes(24).toString('base64'));
    // its disk is tiny and its writes are scattered: with large chunks an incremental backup would read it all
    await api.init({ chunkSize: 256 * KiB }, { signal });
    await api.hostAdd({ name: demoHost, platform: 'qemu', location: paths.host }, { signal });
    await makeRootDisk(guest, folder, paths.root);
    // warnings and progress of the operations are part of the story, their chatter is not
    const tell = (event: JobEvent) => {
      if (event.type === 'progress' || event.level === 'warn' || event.level === 'error') onEvent?.(event);
    };
    await runDemo({ api, guest, rootDisk: paths.root, story, signal, onEvent: tell });
  } catch (error) {
    throwIfAborted(signal, 'running the demonstration');
    // without a step that failed there is no table to show it in
    if (story.ok) throw error;
  } finally {
    if (request.keep) logger.info(`kept, with what runs in it: ${folder}`);
    else await removeDemoFolder(folder);
    await api?.close();
    await entry.end();
  }
  return { ok: story.ok, steps: story.steps };
}

async function prepare(story: Story, { signal, logger }: Call) {
  const { guest } = await story.step('prepare: packages and a tiny Linux', async () => {
    const log = createLogger(({ level, message }) => logger[level](message));
    const installed = await ensureDebianPackages(packagesFor('guest', 'machines'), { log, signal });
    const guest = await buildTinyGuest({ log });
    const packages = installed.length === 0 ? 'all packages are there' : `installed ${installed.join(' ')}`;
    return { guest, detail: `${packages}; Linux ${guest.kernelVersion}` };
  });
  return guest;
}

/** As qcow2, which keeps track of changes while the machine is off, too. */
async function makeRootDisk(guest: TinyGuest, folder: string, path: string): Promise<void> {
  const raw = join(folder, 'root.raw');
  await guest.rootDisk(raw, 128 * MiB);
  await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
}
