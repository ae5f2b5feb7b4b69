/** What a policy would do as it is typed: its next runs, and the machines that it takes. The server says it. */
import { useDebouncedValue } from '@mantine/hooks';
import type { PolicyPreview as Answer } from '@prima/api/http';
import { keepPreviousData, useQuery, type UseQueryResult } from '@tanstack/react-query';
import { call } from '../client.ts';
import { cronInWords } from '../cron.ts';
import { formatExact, plural } from '../format.ts';
import { previewedOf } from '../policy-settings.ts';
import type { FormValues } from './form.tsx';

const typingMs = 300;
const machinesShown = 12;

/** With what was asked: what is typed may be further. */
type Preview = Answer & { asked: ReturnType<typeof previewedOf> };

export function usePolicyPreview(values: FormValues | undefined): UseQueryResult<Preview> {
  const [asked] = useDebouncedValue(values && previewedOf(values), typingMs);
  return useQuery({
    queryKey: ['previewPolicy', asked],
    queryFn: async ({ signal }) => {
      const body = asked ?? previewedOf({});
      return { asked: body, ...(await call('previewPolicy', { body, signal })) };
    },
    enabled: asked !== undefined,
    placeholderData: keepPreviousData,
  });
}

export function PolicyPreview({ of }: { of: UseQueryResult<Preview> }) {
  return (
    <section className="panel" aria-label="Preview" aria-live="polite">
      <h2>Preview</h2>
      {of.error ? (
        <p className="tone-warn">Not yet: {of.error.message}</p>
      ) : of.data ? (
        <div className="choices">
          <Runs of={of.data} />
          <Machines of={of.data.machines} />
        </div>
      ) : (
        <p className="soft">Reading…</p>
      )}
    </section>
  );
}

function Runs({ of: { asked, runs, issues } }: { of: Preview }) {
  if (issues.length > 0)
    return <p className="tone-warn">It never runs: {issues.map(({ message }) => message).join('; ')}</p>;
  const { schedule, timeZone } = asked;
  return (
    <div>
      <p>Runs {cronInWords(schedule) ?? schedule}:</p>
      <ul className="lines soft">
        {runs.map(({ time, begins }) => (
          <li key={time}>
            {formatExact(time, timeZone)}
            {begins !== time && `, begins ${formatExact(begins, timeZone)}`}
          </li>
        ))}
      </ul>
    </div>
  );
}

function Machines({ of: { total, items, unused } }: { of: Preview['machines'] }) {
  const shown = items.slice(0, machinesShown);
  return (
    <div>
      <p>
        Takes {plural(total, 'machine')}
        {total > 0 ? ':' : ' of those there are now.'}
      </p>
      <ul className="lines soft">
        {shown.map(({ id, policies }) => (
          <li key={id}>
            {id}
            {policies.length > 0 && ` (in ${policies.join(', ')})`}
          </li>
        ))}
        {total > shown.length && <li>and {(total - shown.length).toLocaleString('en')} more</li>}
      </ul>
      {unused.length > 0 && <p className="tone-warn">Fits no machine: {unused.join(', ')}</p>}
    </div>
  );
}
