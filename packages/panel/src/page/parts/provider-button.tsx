/** Goes to the identity provider; the browser comes back by the page of its answer. */
import { useQuery } from '@tanstack/react-query';
import { call, resource } from '../client.ts';
import { ownPath } from '../places.ts';
import { Action } from './action.tsx';

const key = 'prima-return-to';

/** The path that was wanted before the provider was gone to. */
export function takePlaceToReturnTo(): string {
  const kept = sessionStorage.getItem(key) ?? undefined;
  sessionStorage.removeItem(key);
  return ownPath(kept);
}

/** @param from a path of this page, where the person wants to go */
async function leave(begin: () => Promise<{ url: string }>, from: string | undefined): Promise<void> {
  const { url } = await begin();
  sessionStorage.setItem(key, ownPath(from));
  window.location.assign(url);
}

/** Nothing, where no provider is kept. */
export function ProviderButton({ link, from }: { link?: string; from?: string | undefined }) {
  const { data } = useQuery(resource('getSignInWays'));
  if (data?.provider === undefined) return null;
  const begin = () => call('beginProviderSignIn', { body: link === undefined ? {} : { link } });
  return <Action run={() => leave(begin, from)}>Sign in with {data.provider}</Action>;
}

export function LinkButton({ provider }: { provider: string }) {
  return <Action run={() => leave(() => call('linkIdentity'), '/settings')}>Link to {provider}</Action>;
}
