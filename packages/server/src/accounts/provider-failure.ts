/** What went wrong with the identity provider, in words that say what to do. */
import { PrimaError } from '@prima/base';

const unknownCertificates = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

interface Facts {
  /** Of the error and of its causes. */
  codes: string[];
  /** The provider's own word (RFC 6749, 5.2 and 4.1.2.1). */
  word?: string;
  description?: string;
  /** Of a token: the claim that was not as it had to be. */
  claim?: string;
  messages: string[];
}

export function providerFailure(error: unknown, issuer: string): PrimaError {
  if (error instanceof PrimaError) return error;
  const facts = factsOf(error);
  const { codes, word, description, claim } = facts;
  const has = (code: string) => codes.includes(code);
  const raise = (code: 'unauthorized' | 'remote' | 'timeout' | 'protocol', message: string, more = {}) =>
    new PrimaError(code, message, { cause: error, ...more });
  const certificate = codes.find((code) => unknownCertificates.has(code) || code.startsWith('ERR_TLS_'));
  if (certificate !== undefined)
    return raise(
      'remote',
      `the certificate of ${issuer} is not known here (${certificate}); give its authority’s certificate in the provider’s settings`,
    );
  if (has('CERT_HAS_EXPIRED') || has('CERT_NOT_YET_VALID'))
    return raise('remote', `the certificate of ${issuer} is not valid at this time; look at the clocks`);
  if (has('OAUTH_TIMEOUT') || has('TimeoutError'))
    return raise('timeout', `${issuer} did not answer in time; sign in with a password meanwhile`, {
      retryable: true,
    });
  if (has('OAUTH_JWT_TIMESTAMP_CHECK_FAILED'))
    return raise(
      'protocol',
      `the time in what ${issuer} signed does not fit this server’s clock (${facts.messages.at(-1) ?? ''}); set both clocks by the same source`,
    );
  if (claim === 'nonce' || (has('OAUTH_INVALID_RESPONSE') && facts.messages.some(isAboutState)))
    return raise(
      'unauthorized',
      'the answer belongs to another sign-in than the one begun here; begin again',
    );
  if (claim === 'iss' || claim === 'issuer' || facts.messages.some((message) => message.includes('"iss"')))
    return raise(
      'protocol',
      `${issuer} calls itself by another name; write the issuer exactly as its /.well-known/openid-configuration does`,
    );
  if (word === 'invalid_client' || word === 'unauthorized_client')
    return raise('remote', `${issuer} does not take this server’s client id and secret; keep them anew`);
  if (word === 'invalid_grant')
    return raise('unauthorized', `${issuer} does not take the code: it was used, or is too old; begin again`);
  if (word !== undefined)
    return raise(
      'unauthorized',
      `${issuer} refuses: ${description ?? word}; begin again, or ask who keeps it`,
    );
  return raise('remote', `asking ${issuer}: ${facts.messages.join(': ')}`, { retryable: true });
}

const isAboutState = (message: string): boolean => message.includes('"state"');

function factsOf(error: unknown): Facts {
  const facts: Facts = { codes: [], messages: [] };
  const seen = new Set<unknown>();
  for (let one = error; typeof one === 'object' && one !== null && !seen.has(one); ) {
    seen.add(one);
    const {
      code,
      name,
      message,
      error: word,
      error_description: description,
      claim,
      attribute,
      cause,
    } = one as Record<string, unknown>;
    if (typeof code === 'string') facts.codes.push(code);
    if (typeof name === 'string') facts.codes.push(name);
    if (typeof message === 'string') facts.messages.push(message);
    if (typeof word === 'string') facts.word ??= word;
    if (typeof description === 'string') facts.description ??= description;
    if (typeof claim === 'string') facts.claim ??= claim;
    if (typeof attribute === 'string') facts.claim ??= attribute;
    one = cause;
  }
  return facts;
}
