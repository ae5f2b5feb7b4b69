/** Where the identity provider sends the browser back to. */
import { Anchor } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { call, setSession } from '../client.ts';
import { takePlaceToReturnTo } from '../parts/provider-button.tsx';
import { Problem } from '../parts/problem.tsx';

export function ProviderReturnPage() {
  useDocumentTitle('Signing in – Prima');
  const navigate = useNavigate();
  const [error, setError] = useState<unknown>();
  const isAsked = useRef(false);
  useEffect(() => {
    if (isAsked.current) return; // an answer of the provider counts once
    isAsked.current = true;
    const finish = async () => {
      const query = window.location.search;
      window.history.replaceState(null, '', window.location.pathname);
      setSession(await call('finishProviderSignIn', { body: { query } }));
      await navigate({ href: takePlaceToReturnTo(), replace: true });
    };
    finish().catch(setError);
  }, [navigate]);
  return (
    <main className="door">
      <div className="brand">
        <img src="/icon.svg" alt="" /> Prima
      </div>
      <h1>Signing in</h1>
      {error === undefined ? (
        <p role="status">Asking the provider…</p>
      ) : (
        <>
          <Problem error={error} />
          <p>
            <Anchor href="/sign-in">Back to signing in</Anchor>
          </p>
        </>
      )}
    </main>
  );
}
