/** The demonstration as an operation: a private world for it, and nothing left of it afterwards. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DemoResult, JobEvent, PrimaApi } from '@prima/api';
import { createLogger, MiB, throwIfAborted, toPrimaError } from '@prima/base';
import { buildTinyGuest, ensureDebianPackages, packagesFor } from '@prima/testbed';
import type { Call, Context } from '../context.ts';
import { demoHost, demoMachine, runDemo } from './demo.ts';
import { Story } from './story.ts';

/** Opens the application that the demonstration works with; the caller's own is left alone. */
type OpenApplication = (home: string, repository: string, secret: string) => Promise<PrimaApi>;

export function demoOperations(context: Context, open: OpenApplication): Pick<PrimaApi, 'demo'> {
  return {
    demo: (request, options) =>
      context.run(options, (call) => demo({ request, call, open, onEvent: options?.onEvent })),
  };
}

interface Demo {
  request: { folder?: string; keep?: boolean };
  call: Call;
  open: OpenApplication;
  onEvent: ((event: JobEvent) => void) | undefined;
}

async function demo({ request, call, open, onEvent }: Demo): Promise<DemoResult> {
  const { signal, logger } = call;
  const story = new Story(logger);
  const folder = await makeFolder(request.folder);
  let api: PrimaApi | undefined;
  try {
    const guest = await prepare(story, call);
    const paths = { host: join(folder, 'host'), root: join(folder, 'root.raw') };
    await mkdir(paths.host);
    api = await open(join(folder, 'home'), join(folder, 'repository'), randomBytes(24).toString('base64'));
    await api.init({}, { signal });
    await api.hostAdd({ name: demoHost, platform: 'qemu', location: paths.host }, { signal });
    await guest.rootDisk(paths.root, 128 * MiB);
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
    if (request.keep) logger.info(`kept: ${folder}`);
    else await remove(folder, api, logger);
    await api?.close();
  }
  return { ok: story.ok, steps: story.steps };
}

async function makeFolder(parent: string | undefined): Promise<string> {
  try {
    if (parent !== undefined) await mkdir(parent, { recursive: true });
    return await mkdtemp(join(parent ?? tmpdir(), 'prima-demo-'));
  } catch (error) {
    throw toPrimaError(error, 'making a folder for the demonstration');
  }
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

/** Not under the caller's signal: this is what cancelling does, too. */
async function remove(folder: string, api: PrimaApi | undefined, logger: Call['logger']): Promise<void> {
  const machines = (await api?.machineList({ host: demoHost }).catch(() => [])) ?? [];
  for (const { name, state } of machines) {
    if (state === 'off') continue;
    try {
      await api?.machinePower({ machine: `${demoHost}/${name}`, action: 'kill' });
    } catch (error) {
      logger.error(
        `the machine ${name || demoMachine} may still run: ${toPrimaError(error, 'killing it').message}`,
      );
    }
  }
  await rm(folder, { recursive: true, force: true });
}
