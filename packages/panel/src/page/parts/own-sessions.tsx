/** Where one is signed in; sessions that should not be are ended. */
import { useQuery } from '@tanstack/react-query';
import { call, changed, resource } from '../client.ts';
import { Action } from './action.tsx';
import { Loaded } from './page.tsx';
import { Time } from './time.tsx';

export function OwnSessions() {
  const query = useQuery(resource('listSessions'));
  return (
    <Loaded query={query}>
      {({ items }) => (
        <>
          {items.map(({ id, address, agent, created, seen, isThis }) => (
            <div key={id} style={{ marginBottom: 8 }}>
              {browserOf(agent)} from {address || 'an unknown address'}{' '}
              {isThis ? (
                <strong>this one</strong>
              ) : (
                <Action
                  size="compact-xs"
                  run={async () => {
                    await call('endSession', { path: { id } });
                    await changed('listSessions');
                  }}
                >
                  End
                </Action>
              )}
              <div className="soft">
                since <Time at={created} />, last used <Time at={seen} />
              </div>
            </div>
          ))}
          {items.length > 1 && (
            <Action
              confirm="All of your sessions but this one end at once."
              run={async () => {
                await call('endOtherSessions');
                await changed('listSessions');
              }}
            >
              End all others
            </Action>
          )}
        </>
      )}
    </Loaded>
  );
}

/** Browsers name their forebears, too; the one that is meant is the first of these that is there. */
function browserOf(agent: string): string {
  const name = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'].find((one) => agent.includes(`${one}/`));
  const system = ['Windows', 'Android', 'iPhone', 'Mac OS', 'Linux'].find((one) => agent.includes(one));
  const called = name ?? (agent.split(' ')[0] || 'A program');
  return system === undefined ? called : `${called} on ${system}`;
}
