/** The operations of a server elsewhere, behind the same contract as those in process. See docs/protocol/http.md. */
export { connectPrima, serverLines, type ServerOptions, serverResources } from './connect.ts';
export { trustingFetch } from './trusting-fetch.ts';
