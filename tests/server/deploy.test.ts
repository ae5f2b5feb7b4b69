/** The files under deploy/ fit the program and what reads them. */
import assert from 'node:assert/strict';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import { ensureDebianPackages, packagesFor, projectRoot, temporaryFolder } from '@prima/testbed';
import { administrator, serverWorld } from './server-fixture.ts';

const deploy = (name: string) => readFile(join(projectRoot, 'deploy', name), 'utf8');

test('systemd takes the unit without a complaint', async (t) => {
  await ensureDebianPackages(packagesFor('systemd'));
  const folder = await temporaryFolder(t);
  const text = await deploy('prima.service');
  assert.match(text, /^KillMode=process$/m, 'machines and guardians outlive the server');
  const [, path = ''] = /^ExecStart=(\S+)/m.exec(text) ?? [];
  assert.equal(path, '/opt/prima/bin/prima');
  await access(join(projectRoot, path.replace('/opt/prima/', '')));
  await mkdir(join(folder, 'units'));
  const unit = join(folder, 'units', 'prima.service');
  // where it is here; the account is made by whoever installs it
  await writeFile(
    unit,
    text.replace(path, join(projectRoot, 'bin/prima')).replace('User=prima', 'User=daemon'),
  );
  const { stdout, stderr } = await runProgram('systemd-analyze', ['verify', '--man=no', unit], {
    timeoutMs: 60_000,
  });
  const said = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('prima.service'));
  assert.deepEqual(said, []);
});

test('the dashboard asks for figures that there are', async (t) => {
  const world = await serverWorld(t);
  await (await administrator(world)).call('addRepository', {
    body: {
      name: 'main',
      url: join(await temporaryFolder(t), 'r'),
      passphrase: 'correct horse',
      create: true,
    },
  });
  const metrics = await (await fetch(`${world.server.url}/metrics`)).text();
  const families = new Set([...metrics.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  assert.match(metrics, /^prima_repository_free_bytes\{organisation="main",name="main"\} \d{6,}$/m);
  const { panels } = JSON.parse(await deploy('grafana-dashboard.json')) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  assert.ok(panels.length > 8);
  for (const { title, targets } of panels)
    for (const { expr } of targets) {
      const names = expr.match(/\b(?:prima|process|nodejs)_\w+/g) ?? [];
      assert.ok(names.length > 0, title);
      for (const name of names) assert.ok(families.has(name), `${title} asks for ${name}`);
    }
});

test('the container file names what there is', async () => {
  const text = await deploy('Containerfile');
  const [, script = ''] = /^RUN scripts\/node (\S+)/m.exec(text) ?? [];
  await access(join(projectRoot, script));
  const [, command = ''] = /^CMD (.+)$/m.exec(text) ?? [];
  const [program = ''] = JSON.parse(command) as string[];
  await access(join(projectRoot, program));
});
