import assert from 'node:assert/strict';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, type PrimaError } from '@prima/base';
import { createVmdk } from '@prima/formats';
import { refuseBrittleCowd } from './brittle-cowd.ts';

test('a snapshot of ESX that QEMU would destroy is not run; one with all its tables is', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-cowd-'));
  t.after(() => rm(folder, { recursive: true }));
  const at = (name: string) => join(folder, name);
  await createVmdk(at('web.vmdk'), { createType: 'vmfs', size: 8 * MiB });
  await createVmdk(at('web-000001.vmdk'), { createType: 'vmfsSparse', parent: at('web.vmdk') });
  const top = { path: at('web-000001.vmdk'), format: 'vmdk' };
  await refuseBrittleCowd(top);
  await refuseBrittleCowd({ path: at('web.vmdk'), format: 'vmdk' });
  // as ESX makes it: a table comes with its first grain
  await using file = await open(at('web-000001-delta.vmdk'), 'r+');
  await file.write(Buffer.alloc(4), 0, 4, 4 * 512 + 4);
  await assert.rejects(
    refuseBrittleCowd(top),
    (error: PrimaError) => error.code === 'refused' && /prima disk convert/.test(error.message),
  );
  await refuseBrittleCowd({ path: at('gone.vmdk'), format: 'vmdk' });
});
