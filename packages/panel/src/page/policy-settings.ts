/** What the form of a policy says, as the settings that the server takes. */
import type { Policy, PolicySettings } from '@prima/api/http';

export const keptRules = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

type Values = Record<string, string>;
type Previewed = Pick<PolicySettings, 'machines' | 'schedule' | 'timeZone' | 'window'>;

const linesOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

/** What is previewed while it is typed. */
export function previewedOf(values: Values): Previewed {
  const { from = '', to = '' } = values;
  const except = linesOf(values['except']);
  return {
    machines: {
      ...(values['all'] === undefined ? { names: linesOf(values['machines']) } : { all: true }),
      ...(except.length > 0 ? { except } : {}),
    },
    schedule: (values['schedule'] ?? '').trim(),
    timeZone: (values['zone'] ?? '').trim() || 'UTC',
    ...(from === '' && to === '' ? {} : { window: { from, to } }),
  };
}

/** @param before the policy that is changed: what this form does not show stays as it was */
export function settingsOf(values: Values, before: Policy | undefined): PolicySettings {
  const {
    id: _id,
    nextRun: _next,
    lastRun: _last,
    lastOutcome: _outcome,
    machineCount: _count,
    window: _window,
    copyTo: _copy,
    lockDays: _lock,
    retention: _retention,
    limits: _limits,
    commands: _commands,
    ...kept
  } = before ?? ({} as Partial<Policy>);
  const retention = Object.fromEntries(
    keptRules.flatMap((rule) => (values[rule] ? [[rule, Number(values[rule])]] : [])),
  );
  return {
    ...kept,
    ...previewedOf(values),
    name: (values['name'] ?? '').trim(),
    enabled: values['enabled'] !== undefined,
    repository: values['repository'] ?? '',
    mode: (values['mode'] ?? 'auto') as PolicySettings['mode'],
    promiseHours: Number(values['promise']),
    atOnce: Number(values['atOnce']),
    attempts: Number(values['attempts']),
    skipFreeSpace: values['skipFreeSpace'] !== undefined,
    ...(values['lockDays'] ? { lockDays: Number(values['lockDays']) } : {}),
    ...limitsOf(values),
    ...commandsOf(values),
    ...(values['copyTo'] ? { copyTo: values['copyTo'] } : {}),
    ...(Object.keys(retention).length > 0 ? { retention } : {}),
  };
}

export const rateUnit = 2 ** 20;

/** Typed in MiB a second. */
function limitsOf(values: Values): Pick<PolicySettings, 'limits'> {
  const limits = Object.fromEntries(
    (['read', 'store'] as const).flatMap((kind) => {
      const typed = values[`${kind}Limit`];
      return typed ? [[kind, Math.round(Number(typed) * rateUnit)]] : [];
    }),
  );
  return Object.keys(limits).length > 0 ? { limits } : {};
}

/** One argument a line: none is split at spaces. */
function commandsOf(values: Values): Pick<PolicySettings, 'commands'> {
  const typed = (step: 'before' | 'after') => {
    const command = linesOf(values[step]);
    return command.length === 0 ? undefined : { command, seconds: Number(values[`${step}Seconds`]) || 600 };
  };
  const [before, after] = [typed('before'), typed('after')];
  if (!before && !after) return {};
  const goOn = values['goOn'] !== undefined;
  return { commands: { ...(before ? { before: { ...before, goOn } } : {}), ...(after ? { after } : {}) } };
}

/** The machines of a policy as the form has them: one a line. */
export function machineLines({ hosts = [], names = [] }: PolicySettings['machines']): string {
  return [...hosts.map((host) => `${host}/*`), ...names].join('\n');
}
