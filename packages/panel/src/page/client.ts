/** What the page asks its server: resources, operations, who is signed in. */
import {
  type Answer,
  ApiError,
  type CallInput,
  type EndpointName,
  hasRole,
  problemOf,
  resourceClient,
} from '@prima/api/http';
import type { Role, Session } from '@prima/api/http';
import { QueryCache, QueryClient, queryOptions, useSuspenseQuery } from '@tanstack/react-query';

/** Of the session; the server refuses changes without it. */
let csrf = '';

const headers = (): Record<string, string> => (csrf === '' ? {} : { 'x-prima-csrf': csrf });

/** Raises `ApiError`. */
export const call = resourceClient({ headers });

export const queries = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof ApiError && error.status === 401) setSession(null);
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5000,
      retry: (count, error) => !(error instanceof ApiError) && count < 2,
    },
    mutations: { retry: false },
  },
});

/** Null: nobody is signed in. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  staleTime: 60_000,
  queryFn: async (): Promise<Session | null> => {
    try {
      const session = await call('getSession');
      csrf = session.csrf;
      return session;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  },
});

/** After signing in or out: nothing that the one before saw is kept. */
export function setSession(session: Session | null): void {
  csrf = session?.csrf ?? '';
  queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== 'session' });
  queries.setQueryData(sessionQuery.queryKey, session);
}

/** Below the shell there is one always. */
export function useSession(): Session {
  const { data } = useSuspenseQuery(sessionQuery);
  if (!data) throw new Error('nobody is signed in');
  return data;
}

/** Whether the person may do what needs this role, where they are. */
export function useMay(role: Role | 'provider'): boolean {
  const { organisation, isProvider } = useSession();
  return role === 'provider' ? isProvider : hasRole(organisation.roles, role);
}

/** A resource, as a query; what a mutation changes is found by the first word of its key. */
export function resource<Name extends EndpointName>(name: Name, input: Omit<CallInput<Name>, 'signal'> = {}) {
  return queryOptions({
    queryKey: [name, input] as const,
    queryFn: ({ signal }): Promise<Answer<Name>> => call(name, { ...input, signal }),
  });
}

/** These resources are read anew, wherever they are shown. */
export function changed(...names: EndpointName[]): Promise<void> {
  return queries.invalidateQueries({
    predicate: ({ queryKey }) => names.some((name) => name === queryKey[0]),
  });
}

/** The id of the job, where the operation is long. */
export async function runOperation(
  name: string,
  request: object,
  repository?: string,
): Promise<string | undefined> {
  const query = repository === undefined ? '' : `?repository=${encodeURIComponent(repository)}`;
  const response = await fetch(`/api/v1/operations/${name}${query}`, {
    method: 'POST',
    headers: {
      ...headers(),
      'content-type': 'application/json',
      'idempotency-key': crypto.getRandomValues(new Uint32Array(4)).join('-'),
    },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(120_000),
  });
  if (!response.ok) throw new ApiError(response.status, await problemOf(response));
  const { job } = (await response.json()) as { job?: { id: string } };
  return job?.id;
}
