import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Policy } from '@prima/api/http';
import { machineLines, previewedOf, settingsOf } from './policy-settings.ts';

const typed = {
  name: ' nightly ',
  all: 'on',
  except: 'lab/test*\n\n old ',
  repository: 'main',
  copyTo: 'far',
  lockDays: '30',
  mode: 'hot',
  schedule: '0 22 * * *',
  zone: 'Europe/Berlin',
  from: '22:00',
  to: '05:00',
  promise: '26',
  atOnce: '4',
  attempts: '5',
  skipFreeSpace: 'on',
  readLimit: '100',
  before: '/bin/sh\n/etc/freeze the-db',
  beforeSeconds: '60',
  after: '/bin/thaw',
  afterSeconds: '',
  goOn: 'on',
  storeLimit: '0.5',
  enabled: 'on',
  hourly: '24',
  daily: '7',
  last: '',
};

const settings = {
  name: 'nightly',
  enabled: true,
  machines: { all: true, except: ['lab/test*', 'old'] },
  repository: 'main',
  copyTo: 'far',
  lockDays: 30,
  mode: 'hot',
  schedule: '0 22 * * *',
  timeZone: 'Europe/Berlin',
  window: { from: '22:00', to: '05:00' },
  promiseHours: 26,
  atOnce: 4,
  attempts: 5,
  skipFreeSpace: true,
  commands: {
    before: { command: ['/bin/sh', '/etc/freeze the-db'], seconds: 60, goOn: true },
    after: { command: ['/bin/thaw'], seconds: 600 },
  },
  limits: { read: 104_857_600, store: 524_288 },
  retention: { hourly: 24, daily: 7 },
};

test('all that a policy has is said by the form', () => {
  assert.deepEqual(settingsOf(typed, undefined), settings);
});

test('what is emptied goes, what the form does not have stays', () => {
  const before = { ...settings, id: 'x', machineCount: 3, later: 'kept' } as unknown as Policy;
  const { all: _all, ...some } = typed;
  const emptied = {
    ...some,
    except: '',
    machines: 'lab/*',
    copyTo: '',
    lockDays: '',
    readLimit: '',
    storeLimit: '',
    before: '',
    after: '',
    from: '',
    to: '',
  };
  const after: Record<string, unknown> = { ...settingsOf({ ...emptied, hourly: '', daily: '' }, before) };
  assert.deepEqual(after['machines'], { names: ['lab/*'] });
  for (const gone of [
    'copyTo',
    'lockDays',
    'limits',
    'commands',
    'window',
    'retention',
    'id',
    'machineCount',
  ])
    assert.ok(!(gone in after), gone);
  assert.equal(after['later'], 'kept');
});

test('half a window is told to the server, which refuses it', () => {
  assert.deepEqual(previewedOf({ ...typed, to: '' }).window, { from: '22:00', to: '' });
});

test('hosts are lines like the others', () => {
  assert.equal(machineLines({ hosts: ['lab'], names: ['far/web*'] }), 'lab/*\nfar/web*');
});
