/** What is around each page: where one can go, who one is. */
import { Button, NativeSelect, useMantineColorScheme } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router';
import { hasRole } from '@prima/api/http';
import { useEffect, useMemo, useRef, useState } from 'react';
import { call, sessionQuery, setSession } from '../client.ts';
import { places } from '../places.ts';
import { tellProblem } from './problem.tsx';
import { Shortcuts } from './shortcuts.tsx';

const Brand = () => (
  <div className="brand">
    <img src="/icon.svg" alt="" /> Prima
  </div>
);

export function Shell() {
  const { data: session } = useQuery(sessionQuery);
  const path = useRouterState({ select: ({ location }) => location.pathname });
  const navigate = useNavigate();
  const main = useRef<HTMLElement>(null);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    setOpen(false);
    main.current?.focus({ preventScroll: true }); // a reader begins with the new page
  }, [path]);
  useEffect(() => {
    if (session === null) void navigate({ to: '/sign-in', search: { from: path } });
  }, [session, navigate, path]);
  const roles = session?.organisation.roles;
  const isProvider = session?.isProvider ?? false;
  const allowed = useMemo(
    () =>
      places.filter((place) => {
        if (!('role' in place)) return true;
        return place.role === 'provider' ? isProvider : hasRole(roles ?? [], place.role);
      }),
    [roles, isProvider],
  );
  if (!session) return null;
  return (
    <>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <div className="bar">
        <Brand />
        <Button
          variant="default"
          aria-expanded={isOpen}
          aria-controls="side"
          onClick={() => setOpen(!isOpen)}
        >
          Menu
        </Button>
      </div>
      <div className="shell">
        <nav className={`side${isOpen ? ' open' : ''}`} id="side" aria-label="Places">
          <Brand />
          {allowed.map((place, index) => (
            <div key={place.to}>
              {'isSecond' in place && !('isSecond' in (allowed[index - 1] ?? {})) && <hr />}
              <Link to={place.to} activeOptions={{ exact: place.to === '/' }}>
                {place.name}
              </Link>
            </div>
          ))}
          <Who />
        </nav>
        <main id="main" ref={main} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <Shortcuts allowed={allowed} />
    </>
  );
}

function Who() {
  const { data: session } = useQuery(sessionQuery);
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const navigate = useNavigate();
  if (!session) return null;
  const leave = async () => {
    await call('signOut');
    setSession(null);
    await navigate({ to: '/sign-in', search: {} });
  };
  return (
    <div className="who">
      {session.organisations.length > 1 ? (
        <NativeSelect
          size="xs"
          label="Organisation"
          value={session.organisation.id}
          data={session.organisations.map(({ id, name }) => ({ value: id, label: name }))}
          onChange={({ currentTarget }) => {
            call('chooseOrganisation', { body: { id: currentTarget.value } }).then(setSession, tellProblem);
          }}
        />
      ) : (
        <div>{session.organisation.name}</div>
      )}
      <div>
        {session.user.name} · {session.organisation.roles.join(', ')}
      </div>
      <NativeSelect
        size="xs"
        mt={6}
        aria-label="Colours"
        value={colorScheme}
        data={[
          { value: 'auto', label: 'Colours: system' },
          { value: 'light', label: 'Colours: light' },
          { value: 'dark', label: 'Colours: dark' },
        ]}
        onChange={({ currentTarget }) => setColorScheme(currentTarget.value as 'auto' | 'light' | 'dark')}
      />
      <Button mt={6} fullWidth variant="default" onClick={() => void leave().catch(tellProblem)}>
        Sign out
      </Button>
    </div>
  );
}
